"""Queries, keys and values of all rows, block by block: layer norm, one matmul, and packing."""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from std.sys import size_of
from .amx import check_layout
from .matmul import PackedMatrix, compute_dtype, copy_rows, packed_matrix
from .packed_kv import PackedKV, packed_kv
from .row_block import RowBlock, Workspace
from .thread_count import max_threads
from .tile import F32, PANEL, Floats, floats
from .work_split import BlockTask, run_blocks


@fieldwise_init
struct QkvProjection[w_dtype: DType, dtype: DType, kv_dtype: DType](
    BlockTask, Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """Queries (if any), keys and values of rows that are normalised first (if has_norm).

    The columns of the matmul are queries, keys, values, or keys and values only.
    """

    var q: Floats
    """[n_batch * n_ctx, n_state]."""
    var kv: PackedKV[Self.kv_dtype]
    var x: Floats
    """[n_batch * n_ctx, n_in]."""
    var n_in: Int
    var norm_weight: Floats
    var norm_bias: Floats
    var matrix: PackedMatrix[Self.w_dtype, Self.dtype]
    var n_batch: Int
    var has_norm: Bool

    def rows(self, batch: Int, start: Int, n_rows: Int, n_block: Int):
        """Computes one block."""
        var n_state = self.kv.n_head * self.kv.head_dim
        var n_queries = self.matrix.n_out - 2 * n_state
        comptime Rows = RowBlock[Self.dtype]
        var n_factors = Rows.size(n_block, self.n_in)
        var n_workspace = (self.matrix.depth + 2) * PANEL
        var memory = Workspace(
            (n_factors + n_workspace) * size_of[Self.dtype]() + 8 * n_block * PANEL
        )
        var x = Rows(memory.take[Self.dtype](n_factors), n_block)
        var workspace = memory.take[Self.dtype](n_workspace)
        var sums = memory.take[F32](n_block * PANEL)
        var transposed = memory.take[F32](n_block * PANEL)
        var first_row = batch * self.kv.n_ctx + start
        var source = self.x.unsafe_offset(first_row * self.n_in)
        if self.has_norm:
            x.pack_layer_norm(
                source, self.norm_weight, self.norm_bias, n_rows=n_rows, n_columns=self.n_in
            )
        else:
            x.pack(source, stride=self.n_in, n_rows=n_rows, n_columns=self.n_in)
        var q = self.q.unsafe_offset(first_row * n_state)
        for p in range(self.matrix.n_panels()):
            var first = p * PANEL
            var n = min(PANEL, self.matrix.n_out - first)
            self.matrix.accumulate(
                sums, x, workspace, n_rows=n_rows, panel=p, depth=self.matrix.depth
            )
            var n_own = min(n, max(0, n_queries - first))
            copy_rows(q.unsafe_offset(first), n_state, sums, n_rows, n_own)
            if n_own < n:
                self.kv.store(
                    sums.unsafe_offset(n_own),
                    batch=batch,
                    start=start,
                    n_rows=n_rows,
                    column=first + n_own - n_queries,
                    n=n - n_own,
                    workspace=transposed,
                )
        _ = memory^

    @always_inline
    def run(self, n_threads: Int) raises:
        """Computes all rows."""
        run_blocks[Self.dtype](
            self,
            n_batch=self.n_batch,
            n_ctx=self.kv.n_ctx,
            n_state=self.n_in,
            n_threads=n_threads,
        )


@extensibility.register("whisper_cpu_qkv_projection")
struct QkvProjectionOp:
    """Layer norm -> queries, keys and values."""

    @staticmethod
    def execute[
        target: StaticString, panel: Int, amx_step: Int
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
        """Takes x [n_batch, n_ctx, n_state] to queries of its shape, and packed keys and values."""
        check_layout[panel, amx_step]()
        QkvProjection[panels.dtype, compute_dtype[panels.dtype], keys.dtype](
            q=floats(queries),
            kv=packed_kv(keys, values, x.dim_size(1)),
            x=floats(x),
            n_in=x.dim_size(2),
            norm_weight=floats(norm_weight),
            norm_bias=floats(norm_bias),
            matrix=packed_matrix(panels, scales, bias),
            n_batch=x.dim_size(0),
            has_norm=True,
        ).run(max_threads(n_threads))


@extensibility.register("whisper_cpu_kv_projection")
struct KvProjectionOp:
    """Keys and values alone, of rows as they are."""

    @staticmethod
    def execute[
        target: StaticString, panel: Int, amx_step: Int
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
        """Takes x [n_batch, n_ctx, n_in] to packed keys and values."""
        check_layout[panel, amx_step]()
        var not_read = floats(x)
        QkvProjection[panels.dtype, compute_dtype[panels.dtype], keys.dtype](
            q=not_read,
            kv=packed_kv(keys, values, x.dim_size(1)),
            x=floats(x),
            n_in=x.dim_size(2),
            norm_weight=not_read,
            norm_bias=not_read,
            matrix=packed_matrix(panels, scales, bias),
            n_batch=x.dim_size(0),
            has_norm=False,
        ).run(max_threads(n_threads))
