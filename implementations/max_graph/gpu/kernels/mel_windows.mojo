"""Log-mel frames as the encoder reads them: with a floor, scaled, in windows of whole bands."""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu import block_idx, thread_idx
from max.gpu.host import DeviceContext
from max.gpu.sync import barrier
from std.math import ceildiv
from std.memory import unsafe_stack_allocation
from .pointers import F32, DevicePointer, FloatPointer, IntPointer, pointer

comptime F64 = DType.float64
comptime THREADS = 256
comptime TILE = 32
comptime LINES = THREADS // TILE
"""Lines of a tile that the threads of a block copy at once."""


@always_inline
def scaled(level: Float32, floor: Float32) -> Float32:
    """Returns a log10 of band power as the encoder expects it."""
    return (max(level, floor) + 4) * 0.25


def mel_windows_kernel(
    output: FloatPointer,
    frames: FloatPointer,
    floors: FloatPointer,
    counts: IntPointer,
    n_frames: Int32,
    n_mels: Int32,
):
    """Writes a tile by each block; blocks: (frames, bands, windows). See `MelWindows`."""
    var tile = unsafe_stack_allocation[
        TILE * (TILE + 1), Float32, alignment=16, address_space=.SHARED
    ]()
    var window = Int(block_idx.z)
    var first_frame = Int(block_idx.x) * TILE
    var first_band = Int(block_idx.y) * TILE
    var column = Int(thread_idx.x) % TILE
    var floor = floors[unsafe_offset=window]
    var n_stored = Int(counts[unsafe_offset=window * 2])
    var n_filled = Int(counts[unsafe_offset=window * 2 + 1])
    comptime for i in range(TILE // LINES):
        var line = Int(thread_idx.x) // TILE + i * LINES
        var frame = first_frame + line
        var level = floor
        if frame < n_stored and first_band + column < Int(n_mels):
            var at = (window * Int(n_frames) + frame) * Int(n_mels) + first_band + column
            level = frames[unsafe_offset=at]
        tile[unsafe_offset=line * (TILE + 1) + column] = (
            scaled(level, floor) if frame < n_filled else Float32(0)
        )
    barrier()
    comptime for i in range(TILE // LINES):
        var line = Int(thread_idx.x) // TILE + i * LINES
        if first_frame + column < Int(n_frames) and first_band + line < Int(n_mels):
            var at = (window * Int(n_mels) + first_band + line) * Int(n_frames)
            output[unsafe_offset=at + first_frame + column] = tile[
                unsafe_offset=column * (TILE + 1) + line
            ]


@extensibility.register("whisper_gpu_mel_windows")
struct MelWindows:
    @staticmethod
    def execute[
        target: StaticString
    ](
        output: OutputTensor[dtype=F32, rank=3, ...],
        frames: InputTensor[dtype=F32, rank=2, ...],
        floors: InputTensor[dtype=F32, rank=1, ...],
        counts: InputTensor[dtype=DType.int32, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        """Scales and transposes windows: stored frames, then silence, then zeros.

        Args:
            output: [n_windows, n_mels, n_frames].
            frames: Log10 of band power, [n_windows * n_frames, n_mels]; behind those stored,
                numbers of any kind.
            floors: Least value of each window, [n_windows].
            counts: Frames that are stored, and frames before the zeros, [n_windows, 2].
            ctx: Stream.
        """
        ctx.enqueue_function[mel_windows_kernel](
            pointer(output),
            pointer(frames),
            pointer(floors),
            pointer(counts),
            Int32(output.dim_size(2)),
            Int32(output.dim_size(1)),
            grid_dim=(
                ceildiv(output.dim_size(2), TILE),
                ceildiv(output.dim_size(1), TILE),
                output.dim_size(0),
            ),
            block_dim=THREADS,
        )


def mel_loudness_kernel(
    output: DevicePointer[F64],
    frames: FloatPointer,
    floor: FloatPointer,
    n_frames: Int32,
    n_mels: Int32,
):
    """Averages a frame by each thread; see `MelLoudness`."""
    var frame = Int(block_idx.x) * THREADS + Int(thread_idx.x)
    if frame >= Int(n_frames):
        return
    var sum = Float64(0)
    for band in range(Int(n_mels)):
        var level = frames[unsafe_offset=frame * Int(n_mels) + band]
        sum += scaled(level, floor[unsafe_offset=0]).cast[F64]()
    output[unsafe_offset=frame] = sum / Float64(Int(n_mels))


@extensibility.register("whisper_gpu_mel_loudness")
struct MelLoudness:
    @staticmethod
    def execute[
        target: StaticString
    ](
        output: OutputTensor[dtype=F64, rank=1, ...],
        frames: InputTensor[dtype=F32, rank=2, ...],
        floor: InputTensor[dtype=F32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Averages the scaled bands of each frame, added in their order.

        Args:
            output: [n_frames].
            frames: Log10 of band power, [n_frames, n_mels].
            floor: Least value, [1].
            ctx: Stream.
        """
        ctx.enqueue_function[mel_loudness_kernel](
            pointer(output),
            pointer(frames),
            pointer(floor),
            Int32(frames.dim_size(0)),
            Int32(frames.dim_size(1)),
            grid_dim=ceildiv(frames.dim_size(0), THREADS),
            block_dim=THREADS,
        )
