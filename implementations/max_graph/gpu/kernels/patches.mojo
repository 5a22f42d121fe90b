"""What a convolution of kernel size 3 multiplies: each frame beside its two neighbours.

In half precision the product finds them where they lie, and only a spectrogram must be turned.
"""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu import block_idx, thread_idx
from max.gpu.host import DeviceContext
from max.gpu.sync import barrier
from std.math import ceildiv
from std.memory import unsafe_stack_allocation
from .launch import early, let_next_start, wait_for_previous
from .pointers import F32, Floats, Memory, memory

comptime THREADS = 256


def patches_kernel[
    in_type: DType, out_type: DType, stride: Int, channels_first: Bool
](
    into: Memory[out_type],
    x: Memory[in_type],
    n_values: Int32,
    n_frames: Int32,
    n_in: Int32,
):
    """One value of the result per thread."""
    var at = Int(block_idx.x) * THREADS + Int(thread_idx.x)
    if at >= Int(n_values):
        return
    var frames = Int(n_frames)
    var channels = Int(n_in)
    var channel = at % channels
    var tap = at // channels % 3
    var row = at // (3 * channels)
    var n_out_frames = frames // stride
    var frame = row % n_out_frames * stride + tap - 1
    var batch = row // n_out_frames
    var value = Scalar[in_type](0)
    if frame >= 0 and frame < frames:
        comptime if channels_first:
            value = x[unsafe_offset=(batch * channels + channel) * frames + frame]
        else:
            value = x[unsafe_offset=(batch * frames + frame) * channels + channel]
    into[unsafe_offset=at] = value.cast[out_type]()


@extensibility.register("whisper_gpu_patches")
struct Patches:
    @staticmethod
    def execute[
        target: StaticString, stride: Int, channels_first: Bool
    ](
        output: OutputTensor[rank=3, ...],
        x: InputTensor[rank=3, ...],
        ctx: DeviceContext,
    ) raises:
        """Frames [n_batch, n_frames, n_in] to [n_batch, n_frames / stride, 3 * n_in]."""
        var n_values = output.dim_size(0) * output.dim_size(1) * output.dim_size(2)
        ctx.enqueue_function[
            patches_kernel[x.dtype, output.dtype, stride, channels_first]
        ](
            memory(output),
            memory(x),
            Int32(n_values),
            Int32(x.dim_size(2 if channels_first else 1)),
            Int32(x.dim_size(1 if channels_first else 2)),
            grid_dim=ceildiv(n_values, THREADS),
            block_dim=THREADS,
        )


comptime TURNED = 32


def turn_kernel[
    out_type: DType
](into: Memory[out_type], x: Floats, n_frames: Int32, n_channels: Int32):
    """Blocks of 32 by 8 threads: (32 frames, 32 channels, row of the batch)."""
    let_next_start()
    wait_for_previous()
    var tile = unsafe_stack_allocation[
        TURNED * (TURNED + 1), Float32, alignment=16, address_space=.SHARED
    ]()
    var frames = Int(n_frames)
    var channels = Int(n_channels)
    var frame = Int(block_idx.x) * TURNED
    var channel = Int(block_idx.y) * TURNED
    var start = Int(block_idx.z) * frames * channels
    var column = Int(thread_idx.x) % TURNED
    comptime for i in range(TURNED // 8):
        var line = Int(thread_idx.x) // TURNED + i * 8
        if frame + column < frames and channel + line < channels:
            tile[unsafe_offset=line * (TURNED + 1) + column] = x[
                unsafe_offset=start + (channel + line) * frames + frame + column
            ]
    barrier()
    comptime for i in range(TURNED // 8):
        var line = Int(thread_idx.x) // TURNED + i * 8
        if frame + line < frames and channel + column < channels:
            into[unsafe_offset=start + (frame + line) * channels + channel + column] = tile[
                unsafe_offset=column * (TURNED + 1) + line
            ].cast[out_type]()


@extensibility.register("whisper_gpu_turn")
struct Turn:
    @staticmethod
    def execute[
        target: StaticString
    ](
        output: OutputTensor[rank=3, ...],
        x: InputTensor[dtype=F32, rank=3, ...],
        ctx: DeviceContext,
    ) raises:
        """[n_batch, n_channels, n_frames] to [n_batch, n_frames, n_channels]."""
        ctx.enqueue_function[turn_kernel[output.dtype]](
            memory(output),
            memory(x),
            Int32(x.dim_size(2)),
            Int32(x.dim_size(1)),
            grid_dim=(
                ceildiv(x.dim_size(2), TURNED),
                ceildiv(x.dim_size(1), TURNED),
                x.dim_size(0),
            ),
            block_dim=THREADS,
            attributes=early(),
        )
