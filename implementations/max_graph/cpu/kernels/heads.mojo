"""Queries, keys and values of all rows, block by block: layer norm, one product, its places."""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from std.sys import size_of
from .kept import Kept, kept
from .products import Weights, computed_in, copy_rows, weights_of
from .row_block import RowBlock, Scratch
from .shares import BlockWork, share
from .threads import allowed
from .tile import F32, PANEL, Floats, floats


@fieldwise_init
struct Heads[w_dtype: DType, dtype: DType, kept_dtype: DType](
    BlockWork, Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """Queries (if any), keys and values of rows that are normalised first (if so).

    The columns of the product are queries, keys, values, or keys and values only.
    """

    var q: Floats
    """[n_batch * n_ctx, n_state]."""
    var kept: Kept[Self.kept_dtype]
    var x: Floats
    var n_in: Int
    var norm_weight: Floats
    var norm_bias: Floats
    var weights: Weights[Self.w_dtype, Self.dtype]
    var n_batch: Int
    var has_norm: Bool

    def rows(self, batch: Int, start: Int, n_rows: Int, n_block: Int):
        """One block."""
        var n_state = self.kept.n_head * self.kept.n_channels
        var n_queries = self.weights.n_out - 2 * n_state
        comptime Block = RowBlock[Self.dtype]
        var n_factors = Block.size(n_block, self.n_in)
        var n_room = (self.weights.depth + 2) * PANEL
        var scratch = Scratch((n_factors + n_room) * size_of[Self.dtype]() + 8 * n_block * PANEL)
        var x = Block(scratch.take[Self.dtype](n_factors), n_block)
        var room = scratch.take[Self.dtype](n_room)
        var sums = scratch.take[F32](n_block * PANEL)
        var turned = scratch.take[F32](n_block * PANEL)
        var source = self.x.unsafe_offset((batch * self.kept.n_ctx + start) * self.n_in)
        if self.has_norm:
            x.normalise(source, n_rows, self.n_in, self.norm_weight, self.norm_bias)
        else:
            x.pack(source, self.n_in, n_rows, self.n_in, 1)
        var q = self.q.unsafe_offset((batch * self.kept.n_ctx + start) * n_state)
        for p in range(self.weights.n_panels()):
            var first = p * PANEL
            var n = min(PANEL, self.weights.n_out - first)
            self.weights.add(sums, x, n_rows, p, 0, self.weights.depth, room)
            var n_own = min(n, max(0, n_queries - first))
            copy_rows(q.unsafe_offset(first), n_state, sums, n_rows, n_own)
            if n_own < n:
                self.kept.store(
                    sums.unsafe_offset(n_own),
                    batch,
                    start,
                    n_rows,
                    first + n_own - n_queries,
                    n - n_own,
                    turned,
                )
        _ = scratch^

    @always_inline
    def run(self, n_threads: Int) raises:
        share[Self.dtype](self, self.n_batch, self.kept.n_ctx, self.n_in, n_threads)


@extensibility.register("whisper_query_key_value")
struct QueryKeyValue:
    @staticmethod
    def execute[
        target: StaticString
    ](
        queries: OutputTensor[dtype=F32, rank=3, ...],
        keys: OutputTensor[rank=5, ...],
        values: OutputTensor[rank=4, ...],
        x: InputTensor[dtype=F32, rank=3, ...],
        norm_weight: InputTensor[dtype=F32, rank=1, ...],
        norm_bias: InputTensor[dtype=F32, rank=1, ...],
        panels: InputTensor[rank=3, ...],
        scales: InputTensor[dtype=F32, rank=1, ...],
        bias: InputTensor[dtype=F32, rank=1, ...],
        n_threads: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        Heads[panels.dtype, computed_in[panels.dtype], keys.dtype](
            floats(queries),
            kept(keys, values, x.dim_size(1)),
            floats(x),
            x.dim_size(2),
            floats(norm_weight),
            floats(norm_bias),
            weights_of(panels, scales, bias),
            x.dim_size(0),
            True,
        ).run(allowed(n_threads))


@extensibility.register("whisper_key_value")
struct KeyValue:
    @staticmethod
    def execute[
        target: StaticString
    ](
        keys: OutputTensor[rank=5, ...],
        values: OutputTensor[rank=4, ...],
        x: InputTensor[dtype=F32, rank=3, ...],
        panels: InputTensor[rank=3, ...],
        scales: InputTensor[dtype=F32, rank=1, ...],
        bias: InputTensor[dtype=F32, rank=1, ...],
        n_threads: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Keys and values alone, of rows as they are."""
        Heads[panels.dtype, computed_in[panels.dtype], keys.dtype](
            floats(x),
            kept(keys, values, x.dim_size(1)),
            floats(x),
            x.dim_size(2),
            floats(x),
            floats(x),
            weights_of(panels, scales, bias),
            x.dim_size(0),
            False,
        ).run(allowed(n_threads))
