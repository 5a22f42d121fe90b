"""The encoder's dense layers, with layer norm before and the residual after, block by block.

A block's hidden state never leaves the cache: HIDDEN columns at a time are computed and consumed.
"""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from std.sys import size_of
from .amx import check_layout
from .math import gelu
from .matmul import PackedMatrix, add_rows, compute_dtype, packed_matrix
from .row_block import RowBlock, Workspace, round_up, rows_of
from .thread_count import max_threads
from .tile import F32, PANEL, WIDTH, Floats, floats
from .work_split import BlockTask, run_blocks

comptime HIDDEN = 512
"""Columns of the hidden state that are computed at a time."""


@fieldwise_init
struct Mlp[w_dtype: DType, dtype: DType](
    BlockTask, Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """Computes x + fc2(gelu(fc1(layer_norm(x))))."""

    var into: Floats
    """[n_rows, n_state], as x."""
    var x: Floats
    var norm_weight: Floats
    var norm_bias: Floats
    var fc1: PackedMatrix[Self.w_dtype, Self.dtype]
    var fc2: PackedMatrix[Self.w_dtype, Self.dtype]
    var n_rows: Int

    def rows(self, batch: Int, start: Int, n_rows: Int, n_block: Int):
        """Computes one block."""
        var n_state = self.fc2.n_out
        var n_hidden = self.fc1.n_out
        var n_panels = self.fc2.n_panels()
        var n_depth = max(self.fc1.depth, HIDDEN)
        comptime Rows = RowBlock[Self.dtype]
        var n_factors = Rows.size(n_block, n_state) + Rows.size(n_block, HIDDEN)
        var memory = Workspace(
            (n_factors + (n_depth + 2) * PANEL) * size_of[Self.dtype]()
            + 4 * n_block * PANEL * (n_panels + 1)
        )
        var x = Rows(memory.take[Self.dtype](Rows.size(n_block, n_state)), n_block)
        var hidden = Rows(memory.take[Self.dtype](Rows.size(n_block, HIDDEN)), n_block)
        var workspace = memory.take[Self.dtype]((n_depth + 2) * PANEL)
        var sums = memory.take[F32](n_block * PANEL)
        var y = memory.take[F32](n_block * PANEL * n_panels)
        var source = self.x.unsafe_offset(start * n_state)
        x.pack_layer_norm(
            source, self.norm_weight, self.norm_bias, n_rows=n_rows, n_columns=n_state
        )
        for first in range(0, n_hidden, HIDDEN):
            var depth = min(HIDDEN, n_hidden - first)
            for column in range(0, depth, PANEL):
                var p = (first + column) // PANEL
                self.fc1.accumulate(
                    sums, x, workspace, n_rows=n_rows, panel=p, depth=self.fc1.depth
                )
                for row in range(round_up(n_rows, rows_of[Self.dtype])):
                    comptime for j in range(0, PANEL, WIDTH):
                        var wide = sums.unsafe_load[width=WIDTH](row * PANEL + j)
                        hidden.store[WIDTH](gelu[Self.dtype](wide), row, column + j)
            for p in range(n_panels):
                var to = y.unsafe_offset(p * n_block * PANEL)
                self.fc2.accumulate(
                    to, hidden, workspace, n_rows=n_rows, panel=p, depth=depth, first=first
                )
        for p in range(n_panels):
            add_rows(
                self.into.unsafe_offset(start * n_state + p * PANEL),
                source.unsafe_offset(p * PANEL),
                n_state,
                y.unsafe_offset(p * n_block * PANEL),
                n_rows,
                min(PANEL, n_state - p * PANEL),
            )
        _ = memory^

    @always_inline
    def run(self, n_threads: Int) raises:
        """Computes all rows."""
        run_blocks[Self.dtype](
            self, n_batch=1, n_ctx=self.n_rows, n_state=self.fc2.n_out, n_threads=n_threads
        )


@extensibility.register("whisper_cpu_mlp")
struct MlpOp:
    """Layer norm, two dense layers with GELU between them, and the residual."""

    @staticmethod
    def execute[
        target: StaticString, panel: Int, amx_step: Int
    ](
        output: OutputTensor[dtype=F32, rank=3, ...],
        x: InputTensor[dtype=F32, rank=3, ...],
        norm_weight: InputTensor[dtype=F32, rank=1, ...],
        norm_bias: InputTensor[dtype=F32, rank=1, ...],
        fc1: InputTensor[rank=3, ...],
        fc1_scales: InputTensor[dtype=F32, rank=1, ...],
        fc1_bias: InputTensor[dtype=F32, rank=1, ...],
        fc2: InputTensor[rank=3, ...],
        fc2_scales: InputTensor[dtype=F32, rank=1, ...],
        fc2_bias: InputTensor[dtype=F32, rank=1, ...],
        n_threads: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Takes x [n_batch, n_ctx, n_state] to the same shape."""
        check_layout[panel, amx_step]()
        comptime assert fc1.dtype == fc2.dtype, "both layers are stored in one type"
        comptime dtype = compute_dtype[fc1.dtype]
        Mlp[fc1.dtype, dtype](
            into=floats(output),
            x=floats(x),
            norm_weight=floats(norm_weight),
            norm_bias=floats(norm_bias),
            fc1=packed_matrix(fc1, fc1_scales, fc1_bias),
            fc2=rebind[PackedMatrix[fc1.dtype, dtype]](packed_matrix(fc2, fc2_scales, fc2_bias)),
            n_rows=x.dim_size(0) * x.dim_size(1),
        ).run(max_threads(n_threads))
