"""The encoder's two convolutions with GELU, and its positions, block by block.

A kernel of 3 over frames is a matmul with three neighbouring frames, which lie side by side in
memory: the rows of im2col overlap. Frames that two blocks need are computed by both.
"""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from std.sys import size_of
from .amx import check_layout
from .math import gelu
from .matmul import PackedMatrix, add_rows, compute_dtype, copy_rows, packed_matrix
from .row_block import BLOCK, RowBlock, Scalars, Workspace, round_up
from .thread_count import max_threads
from .tile import F32, PANEL, WIDTH, Floats, floats
from .work_split import BlockTask, run_blocks


@always_inline
def gelu_rows[dtype: DType](sums: Floats, n_rows: Int):
    """Applies GELU to sums [n_rows, PANEL], in place."""
    for i in range(0, n_rows * PANEL, WIDTH):
        sums.unsafe_store(i, gelu[dtype](sums.unsafe_load[width=WIDTH](i)))


@fieldwise_init
struct ConvStem[w_dtype: DType, dtype: DType](
    BlockTask, Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """Computes gelu(conv2(gelu(conv1(mel)))) + positional, conv2 with a stride of 2."""

    var into: Floats
    """[n_batch, n_ctx, n_state]."""
    var mel: Floats
    """[n_batch, n_mels, 2 * n_ctx]."""
    var conv1: PackedMatrix[Self.w_dtype, Self.dtype]
    var conv2: PackedMatrix[Self.w_dtype, Self.dtype]
    var positional: Floats
    """[n_ctx, n_state]."""
    var n_batch: Int
    var n_mels: Int
    var n_ctx: Int

    def transpose(self, into: Floats, batch: Int, first: Int, n_frames: Int):
        """Stores frames from number `first` on, [n_frames, n_mels]; zeros outside the window."""
        var n_all = 2 * self.n_ctx
        for m in range(self.n_mels):
            var source = self.mel.unsafe_offset((batch * self.n_mels + m) * n_all + first)
            for t in range(n_frames):
                var inside = 0 <= first + t < n_all
                into.unsafe_store(t * self.n_mels + m, source.unsafe_load(t) if inside else 0)

    def convolve(
        self,
        into: Floats,
        frames: Floats,
        x: RowBlock[Self.dtype],
        n_frames: Int,
        sums: Floats,
        workspace: Scalars[Self.dtype],
    ):
        """Applies the first convolution and GELU.

        Args:
            into: [n_frames, n_state].
            frames: [n_frames + 2, n_mels].
            x: Workspace for n_frames rows of 3 * n_mels columns.
            n_frames: Frames to compute.
            sums: Workspace, [n_frames in whole tiles, PANEL].
            workspace: Workspace of `PackedMatrix.accumulate`.
        """
        var n_state = self.conv1.n_out
        x.pack(frames, stride=self.n_mels, n_rows=n_frames, n_columns=3 * self.n_mels)
        for p in range(self.conv1.n_panels()):
            self.conv1.accumulate(
                sums, x, workspace, n_rows=n_frames, panel=p, depth=self.conv1.depth
            )
            gelu_rows[Self.dtype](sums, n_frames)
            var to = into.unsafe_offset(p * PANEL)
            copy_rows(to, n_state, sums, n_frames, min(PANEL, n_state - p * PANEL))

    def rows(self, batch: Int, start: Int, n_rows: Int, n_block: Int):
        """Computes one block."""
        var n_state = self.conv2.n_out
        var n_frames = 2 * n_rows + 1
        var n_depth = max(self.conv1.depth, self.conv2.depth)
        var n_capacity = round_up(n_frames, BLOCK)
        comptime Rows = RowBlock[Self.dtype]
        var n_factors = max(
            Rows.size(n_capacity, self.conv1.depth), Rows.size(n_block, self.conv2.depth)
        )
        var memory = Workspace(
            (n_factors + (n_depth + 2) * PANEL) * size_of[Self.dtype]()
            + 4 * (n_capacity * PANEL + (n_frames + 2) * self.n_mels + n_frames * n_state)
        )
        var factors = memory.take[Self.dtype](n_factors)
        var workspace = memory.take[Self.dtype]((n_depth + 2) * PANEL)
        var sums = memory.take[F32](n_capacity * PANEL)
        var transposed = memory.take[F32]((n_frames + 2) * self.n_mels)
        var frames = memory.take[F32](n_frames * n_state)
        self.transpose(transposed, batch, 2 * start - 2, n_frames + 2)
        self.convolve(frames, transposed, Rows(factors, n_capacity), n_frames, sums, workspace)
        if start == 0:  # frames outside the window are zeros, not what the bias makes of zeros
            for j in range(n_state):
                frames.unsafe_store(j, Float32(0))
        var x = Rows(factors, n_block)
        x.pack(frames, stride=2 * n_state, n_rows=n_rows, n_columns=3 * n_state)
        for p in range(self.conv2.n_panels()):
            self.conv2.accumulate(
                sums, x, workspace, n_rows=n_rows, panel=p, depth=self.conv2.depth
            )
            gelu_rows[Self.dtype](sums, n_rows)
            add_rows(
                self.into.unsafe_offset((batch * self.n_ctx + start) * n_state + p * PANEL),
                self.positional.unsafe_offset(start * n_state + p * PANEL),
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
            n_ctx=self.n_ctx,
            n_state=3 * self.conv2.n_out,
            n_threads=n_threads,
        )


@extensibility.register("whisper_cpu_conv_stem")
struct ConvStemOp:
    """Mel frames -> the encoder's first state."""

    @staticmethod
    def execute[
        target: StaticString, panel: Int, amx_step: Int
    ](
        output: OutputTensor[dtype=F32, rank=3, ...],
        mel: InputTensor[dtype=F32, rank=3, ...],
        conv1: InputTensor[rank=3, ...],
        conv1_scales: InputTensor[dtype=F32, rank=1, ...],
        conv1_bias: InputTensor[dtype=F32, rank=1, ...],
        conv2: InputTensor[rank=3, ...],
        conv2_scales: InputTensor[dtype=F32, rank=1, ...],
        conv2_bias: InputTensor[dtype=F32, rank=1, ...],
        positional: InputTensor[dtype=F32, rank=2, ...],
        n_threads: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Takes mel [n_batch, n_mels, 2 * n_ctx] to [n_batch, n_ctx, n_state]."""
        check_layout[panel, amx_step]()
        comptime assert conv1.dtype == conv2.dtype, "both convolutions are stored in one type"
        comptime dtype = compute_dtype[conv1.dtype]
        ConvStem[conv1.dtype, dtype](
            into=floats(output),
            mel=floats(mel),
            conv1=packed_matrix(conv1, conv1_scales, conv1_bias),
            conv2=rebind[PackedMatrix[conv1.dtype, dtype]](
                packed_matrix(conv2, conv2_scales, conv2_bias)
            ),
            positional=floats(positional),
            n_batch=mel.dim_size(0),
            n_mels=mel.dim_size(1),
            n_ctx=output.dim_size(1),
        ).run(max_threads(n_threads))
