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

    def frame(self, index: Int, even: Doubles, odd: Doubles, power: Floats):
        """One frame; the samples are folded about its middle, which halves the sums."""
        var x = self.samples.unsafe_offset(index * HOP)
        for n in range(HALF + 1):
            var left = (x.unsafe_load(n) * self.window.unsafe_load(n)).cast[F64]()
            var right = Float64(0)
            if n != 0 and n != HALF:
                right = (x.unsafe_load(N_FFT - n) * self.window.unsafe_load(N_FFT - n)).cast[F64]()
            even.unsafe_store(n, left + right)
            odd.unsafe_store(n, left - right)
        for k in range(0, self.n_columns, 2 * LANES):
            var real = Array[SIMD[F64, LANES], 2](fill=0)
            var imaginary = Array[SIMD[F64, LANES], 2](fill=0)
            for n in range(HALF + 1):
                var e = SIMD[F64, LANES](even.unsafe_load(n))
                var o = SIMD[F64, LANES](odd.unsafe_load(n))
                comptime for i in range(2):
                    var at = n * self.n_columns + k + i * LANES
                    real[i] = e.fma(self.cosines.unsafe_load[width=LANES](at), real[i])
                    imaginary[i] = o.fma(self.sines.unsafe_load[width=LANES](at), imaginary[i])
            comptime for i in range(2):
                var both = real[i] * real[i] + imaginary[i] * imaginary[i]
                power.unsafe_store(k + i * LANES, both.cast[F32]())
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
        var n_pieces = min(n_frames, 4 * allowed(n_threads))
        var n_tasks = n_workers(n_pieces, allowed(n_threads))

        def task(t: Int) {var log_mel, var n_columns, var n_frames, var n_pieces, var n_tasks}:
            var folded = List[Float64](unsafe_uninit_length=2 * (HALF + 1))
            var power = List[Float32](unsafe_uninit_length=n_columns)
            var even = rebind[Doubles](folded.unsafe_ptr())
            for piece in range(t, n_pieces, n_tasks):
                for i in range(piece * n_frames // n_pieces, (piece + 1) * n_frames // n_pieces):
                    log_mel.frame(
                        i, even, even.unsafe_offset(HALF + 1), rebind[Floats](power.unsafe_ptr())
                    )
            _ = folded^
            _ = power^

        sync_parallelize(task, n_tasks)
