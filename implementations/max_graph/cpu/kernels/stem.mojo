"""The encoder's two convolutions with GELU, and its positions, block by block.

A kernel of 3 over frames is a product with three neighbouring frames, which lie side by side in
memory. Frames that two blocks need are computed by both.
"""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from std.sys import size_of
from .functions import gelu
from .products import Weights, computed_in, copy_rows, store_rows, weights_of
from .row_block import BLOCK, Numbers, RowBlock, Scratch, round_up
from .shares import BlockWork, share
from .threads import allowed
from .tile import F32, PANEL, WIDTH, Floats, floats


@always_inline
def gelu_rows[dtype: DType](sums: Floats, n_rows: Int):
    """GELU of sums [n_rows, PANEL], in place."""
    for i in range(0, n_rows * PANEL, WIDTH):
        sums.unsafe_store(i, gelu[dtype](sums.unsafe_load[width=WIDTH](i)))


@fieldwise_init
struct Stem[w_dtype: DType, dtype: DType](
    BlockWork, Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """Computes out = gelu(conv2(gelu(conv1(mel)))) + positional, conv2 with a stride of 2."""

    var into: Floats
    """[n_batch, n_ctx, n_state]."""
    var mel: Floats
    """[n_batch, n_mels, 2 * n_ctx]."""
    var conv1: Weights[Self.w_dtype, Self.dtype]
    var conv2: Weights[Self.w_dtype, Self.dtype]
    var positional: Floats
    var n_batch: Int
    var n_mels: Int
    var n_ctx: Int

    def turn(self, into: Floats, batch: Int, first: Int, n_frames: Int):
        """Frames of a window from number first on, [n_frames, n_mels]; zeros outside it."""
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
        room: Numbers[Self.dtype],
    ):
        """The first convolution of n_frames frames, of n_frames + 2 that lie in `frames`."""
        var n_state = self.conv1.n_out
        x.pack(frames, self.n_mels, n_frames, 3 * self.n_mels, 1)
        for p in range(self.conv1.n_panels()):
            self.conv1.add(sums, x, n_frames, p, 0, self.conv1.depth, room)
            gelu_rows[Self.dtype](sums, n_frames)
            var to = into.unsafe_offset(p * PANEL)
            copy_rows(to, n_state, sums, n_frames, min(PANEL, n_state - p * PANEL))

    def rows(self, batch: Int, start: Int, n_rows: Int, n_block: Int):
        """One block."""
        var n_state = self.conv2.n_out
        var n_frames = 2 * n_rows + 1
        var n_depth = max(self.conv1.depth, self.conv2.depth)
        var n_capacity = round_up(n_frames, BLOCK)
        comptime Block = RowBlock[Self.dtype]
        var n_factors = max(
            Block.size(n_capacity, self.conv1.depth), Block.size(n_block, self.conv2.depth)
        )
        var scratch = Scratch(
            (n_factors + (n_depth + 2) * PANEL) * size_of[Self.dtype]()
            + 4 * (n_capacity * PANEL + (n_frames + 2) * self.n_mels + n_frames * n_state)
        )
        var factors = scratch.take[Self.dtype](n_factors)
        var room = scratch.take[Self.dtype]((n_depth + 2) * PANEL)
        var sums = scratch.take[F32](n_capacity * PANEL)
        var turned = scratch.take[F32]((n_frames + 2) * self.n_mels)
        var frames = scratch.take[F32](n_frames * n_state)
        self.turn(turned, batch, 2 * start - 2, n_frames + 2)
        self.convolve(frames, turned, Block(factors, n_capacity), n_frames, sums, room)
        if start == 0:  # frames outside the window are zeros, not what the bias makes of zeros
            for j in range(n_state):
                frames.unsafe_store(j, Float32(0))
        var x = Block(factors, n_block)
        x.pack(frames, 2 * n_state, n_rows, 3 * n_state, 1)
        for p in range(self.conv2.n_panels()):
            self.conv2.add(sums, x, n_rows, p, 0, self.conv2.depth, room)
            gelu_rows[Self.dtype](sums, n_rows)
            store_rows(
                self.into.unsafe_offset((batch * self.n_ctx + start) * n_state + p * PANEL),
                self.positional.unsafe_offset(start * n_state + p * PANEL),
                n_state,
                sums,
                n_rows,
                min(PANEL, n_state - p * PANEL),
            )
        _ = scratch^

    @always_inline
    def run(self, n_threads: Int) raises:
        share[Self.dtype](self, self.n_batch, self.n_ctx, 3 * self.conv2.n_out, n_threads)

@extensibility.register("whisper_stem")
struct StemOperation:
    @staticmethod
    def execute[
        target: StaticString
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
        comptime dtype = computed_in[conv1.dtype]
        Stem[conv1.dtype, dtype](
            floats(output),
            floats(mel),
            weights_of(conv1, conv1_scales, conv1_bias),
            rebind[Weights[conv1.dtype, dtype]](weights_of(conv2, conv2_scales, conv2_bias)),
            floats(positional),
            mel.dim_size(0),
            mel.dim_size(1),
            output.dim_size(1),
        ).run(allowed(n_threads))
