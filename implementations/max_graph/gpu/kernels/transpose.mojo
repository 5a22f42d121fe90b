"""Transpose of a spectrogram, with a cast, for convolutions that read whole frames."""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu import block_idx, thread_idx
from max.gpu.host import DeviceContext
from max.gpu.sync import barrier
from std.math import ceildiv
from std.memory import unsafe_stack_allocation
from .pdl import launch_dependents, pdl_attributes, wait_on_dependencies
from .pointers import F32, DevicePointer, FloatPointer, pointer

comptime THREADS = 256
comptime TILE = 32
comptime LINES = THREADS // TILE
"""Lines of a tile that the threads of a block copy at once."""


def transpose_kernel[
    out_type: DType
](output: DevicePointer[out_type], x: FloatPointer, n_frames: Int32, n_channels: Int32):
    """Transposes a tile by each block; blocks: (frames, channels, item of the batch).

    Parameters:
        out_type: Of the output.

    Args:
        output: [n_batch, n_frames, n_channels].
        x: [n_batch, n_channels, n_frames].
        n_frames: Frames.
        n_channels: Channels.
    """
    launch_dependents()
    wait_on_dependencies()
    var tile = unsafe_stack_allocation[
        TILE * (TILE + 1), Float32, alignment=16, address_space=.SHARED
    ]()
    var frames = Int(n_frames)
    var channels = Int(n_channels)
    var frame = Int(block_idx.x) * TILE
    var channel = Int(block_idx.y) * TILE
    var start = Int(block_idx.z) * frames * channels
    var column = Int(thread_idx.x) % TILE
    comptime for i in range(TILE // LINES):
        var line = Int(thread_idx.x) // TILE + i * LINES
        if frame + column < frames and channel + line < channels:
            tile[unsafe_offset=line * (TILE + 1) + column] = x[
                unsafe_offset=start + (channel + line) * frames + frame + column
            ]
    barrier()
    comptime for i in range(TILE // LINES):
        var line = Int(thread_idx.x) // TILE + i * LINES
        if frame + line < frames and channel + column < channels:
            output[unsafe_offset=start + (frame + line) * channels + channel + column] = tile[
                unsafe_offset=column * (TILE + 1) + line
            ].cast[out_type]()


@extensibility.register("whisper_gpu_transpose")
struct Transpose:
    @staticmethod
    def execute[
        target: StaticString
    ](
        output: OutputTensor[rank=3, ...],
        x: InputTensor[dtype=F32, rank=3, ...],
        ctx: DeviceContext,
    ) raises:
        """Copies x [n_batch, n_channels, n_frames] to an output [n_batch, n_frames, n_channels]."""
        ctx.enqueue_function[transpose_kernel[output.dtype]](
            pointer(output),
            pointer(x),
            Int32(x.dim_size(2)),
            Int32(x.dim_size(1)),
            grid_dim=(
                ceildiv(x.dim_size(2), TILE),
                ceildiv(x.dim_size(1), TILE),
                x.dim_size(0),
            ),
            block_dim=THREADS,
            attributes=pdl_attributes(),
        )
