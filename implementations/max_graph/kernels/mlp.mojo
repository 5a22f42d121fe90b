"""The encoder's dense layers, with layer norm before and the residual after, block by block.

A block's wide state never leaves the cache: it is made HIDDEN columns at a time, and consumed.
"""
from extensibility import InputTensor, OutputTensor
import extensibility
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from std.math import ceildiv
from std.sys import size_of
from .functions import gelu
from .amx import close_tiles, open_tiles
from .products import Weights, computed_in, store_rows, weights_of
from .row_block import BLOCK, CHUNK, RowBlock, Scratch, round_up, rows_of
from .threads import allowed, n_workers
from .tile import F32, PANEL, WIDTH, Floats, floats

comptime HIDDEN = 4 * CHUNK


@fieldwise_init
struct Mlp[w_dtype: DType, dtype: DType](
    Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """Computes out = x + narrow(gelu(widen(layer_norm(x))))."""

    var into: Floats
    var x: Floats
    var norm_weight: Floats
    var norm_bias: Floats
    var widen: Weights[Self.w_dtype, Self.dtype]
    var narrow: Weights[Self.w_dtype, Self.dtype]
    var n_rows: Int

    def rows(self, start: Int, n_rows: Int):
        """One block."""
        var n_state = self.narrow.n_out
        var n_hidden = self.widen.n_out
        var n_panels = self.narrow.n_panels()
        var n_depth = max(self.widen.depth, HIDDEN)
        comptime Block = RowBlock[Self.dtype]
        var sizes = Block.size(BLOCK, n_state) + Block.size(BLOCK, HIDDEN) + (n_depth + 2) * PANEL
        var scratch = Scratch(
            sizes * size_of[Self.dtype]() + 4 * BLOCK * PANEL * (n_panels + 1)
        )
        var x = Block(scratch.take[Self.dtype](Block.size(BLOCK, n_state)), BLOCK)
        var hidden = Block(scratch.take[Self.dtype](Block.size(BLOCK, HIDDEN)), BLOCK)
        var room = scratch.take[Self.dtype]((n_depth + 2) * PANEL)
        var sums = scratch.take[F32](BLOCK * PANEL)
        var y = scratch.take[F32](BLOCK * PANEL * n_panels)
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
                var to = y.unsafe_offset(p * BLOCK * PANEL)
                self.narrow.add(to, hidden, n_rows, p, first, depth, room)
        for p in range(n_panels):
            store_rows(
                self.into.unsafe_offset(start * n_state + p * PANEL),
                source.unsafe_offset(p * PANEL),
                n_state,
                y.unsafe_offset(p * BLOCK * PANEL),
                n_rows,
                min(PANEL, n_state - p * PANEL),
            )
        _ = scratch^

    @no_inline
    def run(self, n_threads: Int) raises:
        var n_blocks = ceildiv(self.n_rows, BLOCK)
        var n_tasks = n_workers(n_blocks, n_threads)

        def task(t: Int) {var self, var n_blocks, var n_tasks}:
            open_tiles[Self.dtype]()
            for block in range(t, n_blocks, n_tasks):
                self.rows(block * BLOCK, min(BLOCK, self.n_rows - block * BLOCK))
            close_tiles[Self.dtype]()

        sync_parallelize(task, n_tasks)


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
