"""The encoder's attention and the dense layer after it, block by block.

What attention keeps of a block never leaves the cache; see head_rows.mojo.
"""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from std.sys import size_of
from .head_rows import HeadRows
from .kept import Kept, kept
from .products import Weights, computed_in, store_rows, weights_of
from .row_block import RowBlock, Scratch
from .shares import BlockWork, share
from .threads import allowed
from .tile import F32, PANEL, Floats, floats


@fieldwise_init
struct AttendOut[w_dtype: DType, dtype: DType](
    BlockWork, Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """Computes out = x + weights * attention(q, keys, values) + bias."""

    var into: Floats
    var q: Floats
    var kept: Kept[Self.dtype]
    var x: Floats
    var weights: Weights[Self.w_dtype, Self.dtype]
    var n_batch: Int

    def rows(self, batch: Int, start: Int, n_rows: Int, n_block: Int):
        """One block, all heads."""
        var n_state = self.kept.n_head * self.kept.n_channels
        comptime Block = RowBlock[Self.dtype]
        var n_out = Block.size(n_block, n_state)
        var n_room = (self.weights.depth + 2) * PANEL
        var scratch = Scratch(
            HeadRows[Self.dtype].n_bytes(n_block, self.kept)
            + (n_out + n_room) * size_of[Self.dtype]()
            + 4 * n_block * PANEL
        )
        var head_rows = HeadRows[Self.dtype].within(scratch, n_block, self.kept)
        var attended = Block(scratch.take[Self.dtype](n_out), n_block)
        var at = (batch * self.kept.n_ctx + start) * n_state
        for head in range(self.kept.n_head):
            head_rows.run(self.kept, batch, head, self.q.unsafe_offset(at), n_rows, attended)
        var room = scratch.take[Self.dtype](n_room)
        var out = scratch.take[F32](n_block * PANEL)
        for p in range(self.weights.n_panels()):
            self.weights.add(out, attended, n_rows, p, 0, self.weights.depth, room)
            var to = at + p * PANEL
            store_rows(
                self.into.unsafe_offset(to),
                self.x.unsafe_offset(to),
                n_state,
                out,
                n_rows,
                min(PANEL, n_state - p * PANEL),
            )
        _ = scratch^

    @always_inline
    def run(self, n_threads: Int) raises:
        share[Self.dtype](self, self.n_batch, self.kept.n_ctx, self.weights.n_out, n_threads)

@extensibility.register("whisper_attend")
struct Attend:
    @staticmethod
    def execute[
        target: StaticString
    ](
        output: OutputTensor[dtype=F32, rank=3, ...],
        queries: InputTensor[dtype=F32, rank=3, ...],
        keys: InputTensor[rank=5, ...],
        values: InputTensor[rank=4, ...],
        x: InputTensor[dtype=F32, rank=3, ...],
        panels: InputTensor[rank=3, ...],
        scales: InputTensor[dtype=F32, rank=1, ...],
        bias: InputTensor[dtype=F32, rank=1, ...],
        n_threads: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        comptime dtype = computed_in[panels.dtype]
        AttendOut[panels.dtype, dtype](
            floats(output),
            floats(queries),
            rebind[Kept[dtype]](kept(keys, values, x.dim_size(1))),
            floats(x),
            weights_of(panels, scales, bias),
            x.dim_size(0),
        ).run(allowed(n_threads))
