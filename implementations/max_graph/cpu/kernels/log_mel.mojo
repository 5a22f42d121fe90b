"""Log-mel frames: a windowed Fourier transform, band power and its logarithm.

The transform sums products with tables of cosines and sines, in float64: it is exact to the last
bit of float32, and quiet bands beside loud ones keep their digits.
"""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from std.math import ceildiv, log10
from std.memory import Pointer
from .threads import allowed, n_workers
from .tile import F32, WIDTH, Floats, floats

comptime F64 = DType.float64
comptime LANES = WIDTH // 2
comptime Doubles = Pointer[Float64, MutUntrackedOrigin]
comptime N_FFT = 400
comptime HALF = N_FFT // 2
comptime HOP = 160
comptime FRAMES = 6 if WIDTH == 16 else 4
"""Frames that share one pass over the tables."""
comptime QUIETEST = Float32(1e-10)


@fieldwise_init
struct LogMel(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Frames of samples; tables are [HALF + 1, n_columns], a column for each of HALF + 1 waves."""

    var into: Floats
    var samples: Floats
    var filters: Floats
    var window: Floats
    var cosines: Doubles
    var sines: Doubles
    var n_columns: Int
    var n_mels: Int

    def group(self, first: Int, last: Int, folded: Doubles, power: Floats):
        """Frames first to first + FRAMES - 1, no further than last; one pass over the tables.

        The samples are folded about each frame's middle, which halves the sums.
        """
        for f in range(FRAMES):
            var x = self.samples.unsafe_offset(min(first + f, last) * HOP)
            for n in range(HALF + 1):
                var left = (x.unsafe_load(n) * self.window.unsafe_load(n)).cast[F64]()
                var right = Float64(0)
                if n != 0 and n != HALF:
                    var mirror = N_FFT - n
                    right = (x.unsafe_load(mirror) * self.window.unsafe_load(mirror)).cast[F64]()
                folded.unsafe_store(n * 2 * FRAMES + f, left + right)
                folded.unsafe_store(n * 2 * FRAMES + FRAMES + f, left - right)
        for k in range(0, self.n_columns, LANES):
            var real = Array[SIMD[F64, LANES], FRAMES](fill=0)
            var imaginary = Array[SIMD[F64, LANES], FRAMES](fill=0)
            for n in range(HALF + 1):
                var cosines = self.cosines.unsafe_load[width=LANES](n * self.n_columns + k)
                var sines = self.sines.unsafe_load[width=LANES](n * self.n_columns + k)
                comptime for f in range(FRAMES):
                    var even = SIMD[F64, LANES](folded.unsafe_load(n * 2 * FRAMES + f))
                    var odd = SIMD[F64, LANES](folded.unsafe_load(n * 2 * FRAMES + FRAMES + f))
                    real[f] = even.fma(cosines, real[f])
                    imaginary[f] = odd.fma(sines, imaginary[f])
            comptime for f in range(FRAMES):
                var both = real[f] * real[f] + imaginary[f] * imaginary[f]
                power.unsafe_store(f * self.n_columns + k, both.cast[F32]())
        for f in range(FRAMES):
            self.bands(min(first + f, last), power.unsafe_offset(f * self.n_columns))

    def bands(self, index: Int, power: Floats):
        """Log power in each mel band of a frame."""
        var into = self.into.unsafe_offset(index * self.n_mels)
        for m in range(self.n_mels):
            var filter = self.filters.unsafe_offset(m * (HALF + 1))
            var sums = SIMD[F32, WIDTH](0)
            for k in range(0, HALF // WIDTH * WIDTH, WIDTH):
                var weights = filter.unsafe_load[width=WIDTH](k)
                sums = weights.fma(power.unsafe_load[width=WIDTH](k), sums)
            var total = sums.reduce_add()
            for k in range(HALF // WIDTH * WIDTH, HALF + 1):
                total += filter.unsafe_load(k) * power.unsafe_load(k)
            into.unsafe_store(m, log10(max(total, QUIETEST)))


@extensibility.register("whisper_log_mel")
struct LogMelFrames:
    @staticmethod
    def execute[
        target: StaticString
    ](
        output: OutputTensor[dtype=F32, rank=2, ...],
        samples: InputTensor[dtype=F32, rank=1, ...],
        filters: InputTensor[dtype=F32, rank=2, ...],
        window: InputTensor[dtype=F32, rank=1, ...],
        cosines: InputTensor[dtype=F64, rank=2, ...],
        sines: InputTensor[dtype=F64, rank=2, ...],
        n_threads: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Every frame that lies wholly in the samples, [n_frames, n_mels]."""
        var n_columns = cosines.dim_size(1)
        var log_mel = LogMel(
            floats(output),
            floats(samples),
            floats(filters),
            floats(window),
            rebind[Doubles](cosines.unsafe_ptr()),
            rebind[Doubles](sines.unsafe_ptr()),
            n_columns,
            filters.dim_size(0),
        )
        var n_frames = output.dim_size(0)
        var n_groups = ceildiv(n_frames, FRAMES)
        var n_pieces = min(n_groups, 4 * allowed(n_threads))
        var n_tasks = n_workers(n_pieces, allowed(n_threads))

        def task(
            t: Int,
        ) {var log_mel, var n_columns, var n_frames, var n_groups, var n_pieces, var n_tasks}:
            var folded = List[Float64](unsafe_uninit_length=2 * FRAMES * (HALF + 1))
            var power = List[Float32](unsafe_uninit_length=FRAMES * n_columns)
            for piece in range(t, n_pieces, n_tasks):
                for i in range(piece * n_groups // n_pieces, (piece + 1) * n_groups // n_pieces):
                    log_mel.group(
                        i * FRAMES,
                        n_frames - 1,
                        rebind[Doubles](folded.unsafe_ptr()),
                        rebind[Floats](power.unsafe_ptr()),
                    )
            _ = folded^
            _ = power^

        sync_parallelize(task, n_tasks)
