"""Log-mel frames: windowed Fourier transform, band power and its logarithm.

The transform sums products with cosines and sines in float64, as the CPU's kernel does: it is exact
to the last bit of float32, and quiet bands beside loud ones keep their digits.
"""
import max.gpu.primitives.warp as warp
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu import WARP_SIZE, block_idx, lane_id, thread_idx
from max.gpu.host import DeviceContext
from max.gpu.sync import barrier
from std.math import ceildiv, log10
from std.memory import unsafe_stack_allocation
from .pointers import F32, DevicePointer, FloatPointer, pointer

comptime F64 = DType.float64
comptime N_FFT = 400
comptime HALF = N_FFT // 2
comptime HOP = 160
comptime FRAMES = 8
"""Number of frames of a block."""
comptime THREADS = 256
comptime WARPS = THREADS // WARP_SIZE
comptime QUIETEST = Float32(1e-10)


@always_inline
def store_highest(output: FloatPointer, at: Int, value: Float32):
    """Stores the highest value of a block's threads.

    Args:
        output: Device memory.
        at: Offset to store it at.
        value: The thread's value.
    """
    var of_warps = unsafe_stack_allocation[WARPS, Float32, alignment=16, address_space=.SHARED]()
    var of_warp = warp.max(value)
    if lane_id() == 0:
        of_warps[unsafe_offset=Int(thread_idx.x) // WARP_SIZE] = of_warp
    barrier()
    if thread_idx.x == 0:
        for i in range(1, WARPS):
            of_warp = max(of_warp, of_warps[unsafe_offset=i])
        output[unsafe_offset=at] = of_warp


def log_mel_kernel(
    output: FloatPointer,
    peaks: FloatPointer,
    samples: FloatPointer,
    filters: FloatPointer,
    window: FloatPointer,
    waves: DevicePointer[F64],
    n_frames: Int32,
    n_mels: Int32,
):
    """Computes FRAMES frames by each block: a thread takes a frequency, then some of the bands.

    The samples are folded about each frame's middle, which halves the sums. See `LogMel`.
    """
    var cosines = unsafe_stack_allocation[N_FFT, Float64, alignment=16, address_space=.SHARED]()
    var sines = unsafe_stack_allocation[N_FFT, Float64, alignment=16, address_space=.SHARED]()
    var folded = unsafe_stack_allocation[
        (HALF + 1) * 2 * FRAMES, Float64, alignment=16, address_space=.SHARED
    ]()
    var power = unsafe_stack_allocation[
        (HALF + 1) * FRAMES, Float32, alignment=16, address_space=.SHARED
    ]()
    var thread = Int(thread_idx.x)
    var first = Int(block_idx.x) * FRAMES
    for i in range(thread, N_FFT, THREADS):
        cosines[unsafe_offset=i] = waves[unsafe_offset=i]
        sines[unsafe_offset=i] = waves[unsafe_offset=N_FFT + i]
    for i in range(thread, (HALF + 1) * FRAMES, THREADS):
        var frame = i // (HALF + 1)
        var n = i % (HALF + 1)
        var at = min(first + frame, Int(n_frames) - 1) * HOP
        var left = (samples[unsafe_offset=at + n] * window[unsafe_offset=n]).cast[F64]()
        var right = Float64(0)
        if n != 0 and n != HALF:
            var mirror = N_FFT - n
            right = (samples[unsafe_offset=at + mirror] * window[unsafe_offset=mirror]).cast[F64]()
        folded[unsafe_offset=(n * 2) * FRAMES + frame] = left + right
        folded[unsafe_offset=(n * 2 + 1) * FRAMES + frame] = left - right
    barrier()
    if thread <= HALF:
        var real = SIMD[F64, FRAMES](0)
        var imaginary = SIMD[F64, FRAMES](0)
        var phase = 0
        for n in range(HALF + 1):
            var even = folded.unsafe_load[width=FRAMES, alignment=16](n * 2 * FRAMES)
            var odd = folded.unsafe_load[width=FRAMES, alignment=16]((n * 2 + 1) * FRAMES)
            real = even.fma(SIMD[F64, FRAMES](cosines[unsafe_offset=phase]), real)
            imaginary = odd.fma(SIMD[F64, FRAMES](sines[unsafe_offset=phase]), imaginary)
            phase += thread
            if phase >= N_FFT:
                phase -= N_FFT
        power.unsafe_store[width=FRAMES, alignment=16](
            thread * FRAMES, (real * real + imaginary * imaginary).cast[F32]()
        )
    barrier()
    var highest = log10(QUIETEST)
    for i in range(thread, Int(n_mels) * FRAMES, THREADS):
        var frame = i % FRAMES
        var band = i // FRAMES
        var sum = Float32(0)
        for k in range(HALF + 1):
            sum = filters[unsafe_offset=band * (HALF + 1) + k].fma(
                power[unsafe_offset=k * FRAMES + frame], sum
            )
        if first + frame < Int(n_frames):
            var level = log10(max(sum, QUIETEST))
            output[unsafe_offset=(first + frame) * Int(n_mels) + band] = level
            highest = max(highest, level)
    store_highest(peaks, Int(block_idx.x), highest)


@extensibility.register("whisper_gpu_log_mel")
struct LogMel:
    @staticmethod
    def execute[
        target: StaticString, frames_of_block: Int
    ](
        output: OutputTensor[dtype=F32, rank=2, ...],
        peaks: OutputTensor[dtype=F32, rank=1, ...],
        samples: InputTensor[dtype=F32, rank=1, ...],
        filters: InputTensor[dtype=F32, rank=2, ...],
        window: InputTensor[dtype=F32, rank=1, ...],
        waves: InputTensor[dtype=F64, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        """Computes log10 of band power of every frame that lies wholly in the samples.

        Parameters:
            target: Device of the graph.
            frames_of_block: Python's number of frames of a block.

        Args:
            output: [n_frames, n_mels].
            peaks: Highest value of each block's frames, [ceil(n_frames / FRAMES)].
            samples: [n_samples].
            filters: [n_mels, N_FFT / 2 + 1].
            window: [N_FFT].
            waves: Cosines and sines of one period, [2, N_FFT].
            ctx: Stream.
        """
        comptime assert frames_of_block == FRAMES, "Python and Mojo differ in a block's frames"
        ctx.enqueue_function[log_mel_kernel](
            pointer(output),
            pointer(peaks),
            pointer(samples),
            pointer(filters),
            pointer(window),
            pointer(waves),
            Int32(output.dim_size(0)),
            Int32(output.dim_size(1)),
            grid_dim=ceildiv(output.dim_size(0), FRAMES),
            block_dim=THREADS,
        )
