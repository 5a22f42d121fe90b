"""The encoder's attention (flash_attention.mojo) and the dense layer after it, block by block."""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from std.sys import size_of
from .amx import check_layout
from .flash_attention import FlashAttention
from .matmul import PackedMatrix, add_rows, compute_dtype, packed_matrix
from .packed_kv import PackedKV, packed_kv
from .row_block import RowBlock, Workspace
from .thread_count import max_threads
from .tile import F32, PANEL, Floats, floats
from .work_split import BlockTask, run_blocks


@fieldwise_init
struct EncoderAttention[w_dtype: DType, dtype: DType](
    BlockTask, Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """Computes x + attention(q, keys, values) @ matrix + bias."""

    var into: Floats
    """[n_batch, n_ctx, n_state], as q and x."""
    var q: Floats
    var kv: PackedKV[Self.dtype]
    var x: Floats
    var matrix: PackedMatrix[Self.w_dtype, Self.dtype]
    var n_batch: Int

    def rows(self, batch: Int, start: Int, n_rows: Int, n_block: Int):
        """Computes one block, all heads."""
        var n_state = self.kv.n_head * self.kv.head_dim
        comptime Rows = RowBlock[Self.dtype]
        var n_attended = Rows.size(n_block, n_state)
        var n_workspace = (self.matrix.depth + 2) * PANEL
        var memory = Workspace(
            FlashAttention[Self.dtype].n_bytes(n_block, self.kv)
            + (n_attended + n_workspace) * size_of[Self.dtype]()
            + 4 * n_block * PANEL
        )
        var flash = FlashAttention[Self.dtype].within(memory, n_block, self.kv)
        var attended = Rows(memory.take[Self.dtype](n_attended), n_block)
        var at = (batch * self.kv.n_ctx + start) * n_state
        for head in range(self.kv.n_head):
            flash.run(
                self.kv,
                batch=batch,
                head=head,
                q=self.q.unsafe_offset(at),
                n_rows=n_rows,
                into=attended,
            )
        var workspace = memory.take[Self.dtype](n_workspace)
        var sums = memory.take[F32](n_block * PANEL)
        for p in range(self.matrix.n_panels()):
            self.matrix.accumulate(
                sums, attended, workspace, n_rows=n_rows, panel=p, depth=self.matrix.depth
            )
            add_rows(
                self.into.unsafe_offset(at + p * PANEL),
                self.x.unsafe_offset(at + p * PANEL),
                n_state,
                sums,
                n_rows,
                min(PANEL, n_state - p * PANEL),
            )
        _ = memory^

    @always_inline
    def run(self, n_threads: Int) raises:
        """Computes all rows."""
        run_blocks[Self.dtype](
            self,
            n_batch=self.n_batch,
            n_ctx=self.kv.n_ctx,
            n_state=self.matrix.n_out,
            n_threads=n_threads,
        )


@extensibility.register("whisper_cpu_attention")
struct AttentionOp:
    """Attention of all queries to all keys, a dense layer, and the residual."""

    @staticmethod
    def execute[
        target: StaticString, panel: Int, amx_step: Int
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
        """Takes queries and x [n_batch, n_ctx, n_state], and packed keys and values."""
        check_layout[panel, amx_step]()
        comptime dtype = compute_dtype[panels.dtype]
        EncoderAttention[panels.dtype, dtype](
            into=floats(output),
            q=floats(queries),
            kv=rebind[PackedKV[dtype]](packed_kv(keys, values, x.dim_size(1))),
            x=floats(x),
            matrix=packed_matrix(panels, scales, bias),
            n_batch=x.dim_size(0),
        ).run(max_threads(n_threads))
