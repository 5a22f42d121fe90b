"""The encoder's dense layers, with layer norm before and the residual after, block by block.

A block's wide state never leaves the cache: it is made HIDDEN columns at a time, and consumed.
"""
from extensibility import InputTensor, OutputTensor
import extensibility
from max.gpu.host import DeviceContext
from std.sys import size_of
from .functions import gelu
from .products import Weights, computed_in, store_rows, weights_of
from .row_block import RowBlock, Scratch, round_up, rows_of
from .shares import BlockWork, share
from .threads import allowed
from .tile import F32, PANEL, WIDTH, Floats, floats

comptime HIDDEN = 512


@fieldwise_init
struct Mlp[w_dtype: DType, dtype: DType](
    BlockWork, Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """Computes out = x + narrow(gelu(widen(layer_norm(x))))."""

    var into: Floats
    var x: Floats
    var norm_weight: Floats
    var norm_bias: Floats
    var widen: Weights[Self.w_dtype, Self.dtype]
    var narrow: Weights[Self.w_dtype, Self.dtype]
    var n_rows: Int

    def rows(self, batch: Int, start: Int, n_rows: Int, n_block: Int):
        """One block."""
        var n_state = self.narrow.n_out
        var n_hidden = self.widen.n_out
        var n_panels = self.narrow.n_panels()
        var n_depth = max(self.widen.depth, HIDDEN)
        comptime Block = RowBlock[Self.dtype]
        var n_factors = Block.size(n_block, n_state) + Block.size(n_block, HIDDEN)
        var sizes = n_factors + (n_depth + 2) * PANEL
        var scratch = Scratch(
            sizes * size_of[Self.dtype]() + 4 * n_block * PANEL * (n_panels + 1)
        )
        var x = Block(scratch.take[Self.dtype](Block.size(n_block, n_state)), n_block)
        var hidden = Block(scratch.take[Self.dtype](Block.size(n_block, HIDDEN)), n_block)
        var room = scratch.take[Self.dtype]((n_depth + 2) * PANEL)
        var sums = scratch.take[F32](n_block * PANEL)
        var y = scratch.take[F32](n_block * PANEL * n_panels)
        var source = self.x.unsafe_offset(start * n_state)
        x.normalise(source, n_rows, n_state, self.norm_weight, self.norm_bias)
        for first in range(0, n_hidden, HIDDEN):
            var depth = min(HIDDEN, n_hidden - first)
            for column in range(0, depth, PANEL):
                var p = (first + column) // PANEL
                self.widen.add(sums, x, n_rows, p, 0, self.widen.depth, room)
                for row in range(round_up(n_rows, rows_of[Self.dtype])):
                    comptime for j in range(0, PANEL, WIDTH):
                        var wide = sums.unsafe_load[width=WIDTH](row * PANEL + j)
                        hidden.put[WIDTH](gelu[Self.dtype](wide), row, column + j)
            for p in range(n_panels):
                var to = y.unsafe_offset(p * n_block * PANEL)
                self.narrow.add(to, hidden, n_rows, p, first, depth, room)
        for p in range(n_panels):
            store_rows(
                self.into.unsafe_offset(start * n_state + p * PANEL),
                source.unsafe_offset(p * PANEL),
                n_state,
                y.unsafe_offset(p * n_block * PANEL),
                n_rows,
                min(PANEL, n_state - p * PANEL),
            )
        _ = scratch^

    @always_inline
    def run(self, n_threads: Int) raises:
        share[Self.dtype](self, 1, self.n_rows, self.narrow.n_out, n_threads)

@extensibility.register("whisper_mlp")
struct MlpOperation:
    @staticmethod
    def execute[
        target: StaticString
    ](
        output: OutputTensor[dtype=F32, rank=3, ...],
        x: InputTensor[dtype=F32, rank=3, ...],
        norm_weight: InputTensor[dtype=F32, rank=1, ...],
        norm_bias: InputTensor[dtype=F32, rank=1, ...],
        widen: InputTensor[rank=3, ...],
        widen_scales: InputTensor[dtype=F32, rank=1, ...],
        widen_bias: InputTensor[dtype=F32, rank=1, ...],
        narrow: InputTensor[rank=3, ...],
        narrow_scales: InputTensor[dtype=F32, rank=1, ...],
        narrow_bias: InputTensor[dtype=F32, rank=1, ...],
        n_threads: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        comptime assert widen.dtype == narrow.dtype
        comptime dtype = computed_in[widen.dtype]
        Mlp[widen.dtype, dtype](
            floats(output),
            floats(x),
            floats(norm_weight),
            floats(norm_bias),
            weights_of(widen, widen_scales, widen_bias),
            rebind[Weights[widen.dtype, dtype]](weights_of(narrow, narrow_scales, narrow_bias)),
            x.dim_size(0) * x.dim_size(1),
        ).run(allowed(n_threads))
