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
from .thread_count import max_threads, n_tasks_for
from .tile import F32, WIDTH, Floats, floats

comptime F64 = DType.float64
comptime LANES = WIDTH // 2
"""Float64 numbers of a vector."""
comptime Doubles = Pointer[Float64, MutUntrackedOrigin]
comptime FRAMES = 6 if WIDTH == 16 else 4
"""Frames that share one pass over the tables."""
comptime QUIETEST = Float32(1e-10)
"""Power below which a band counts as silent."""


@fieldwise_init
struct LogMel[n_fft: Int, hop_length: Int](
    Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """Frames of n_fft samples, one every hop_length.

    Tables are [HALF + 1, n_columns], a column for each of HALF + 1 waves.
    """

    comptime HALF = Self.n_fft // 2

    var into: Floats
    """[n_frames, n_mels]."""
    var samples: Floats
    var filters: Floats
    """[n_mels, HALF + 1]."""
    var window: Floats
    """[n_fft]."""
    var cosines: Doubles
    var sines: Doubles
    var n_columns: Int
    var n_mels: Int

    def group(self, first: Int, last: Int, folded: Doubles, power: Floats):
        """Computes frames first to first + FRAMES - 1, no further than last, in one pass.

        Args:
            first: First frame.
            last: Last frame of all.
            folded: Workspace, [HALF + 1, 2, FRAMES].
            power: Workspace, [FRAMES, n_columns].
        """
        self.fold(first, last, folded)
        for k in range(0, self.n_columns, LANES):
            var real = Array[SIMD[F64, LANES], FRAMES](fill=0)
            var imaginary = Array[SIMD[F64, LANES], FRAMES](fill=0)
            for n in range(Self.HALF + 1):
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

    @always_inline
    def fold(self, first: Int, last: Int, folded: Doubles):
        """Folds windowed samples about each frame's middle, which halves the sums."""
        for f in range(FRAMES):
            var x = self.samples.unsafe_offset(min(first + f, last) * Self.hop_length)
            for n in range(Self.HALF + 1):
                var left = (x.unsafe_load(n) * self.window.unsafe_load(n)).cast[F64]()
                var right = Float64(0)
                if n != 0 and n != Self.HALF:
                    var mirror = Self.n_fft - n
                    right = (x.unsafe_load(mirror) * self.window.unsafe_load(mirror)).cast[F64]()
                folded.unsafe_store(n * 2 * FRAMES + f, left + right)
                folded.unsafe_store(n * 2 * FRAMES + FRAMES + f, left - right)

    def bands(self, index: Int, power: Floats):
        """Stores the logarithm of the power in each mel band of a frame; power is [HALF + 1]."""
        comptime WHOLE = Self.HALF // WIDTH * WIDTH
        var into = self.into.unsafe_offset(index * self.n_mels)
        for m in range(self.n_mels):
            var filter = self.filters.unsafe_offset(m * (Self.HALF + 1))
            var sums = SIMD[F32, WIDTH](0)
            for k in range(0, WHOLE, WIDTH):
                var weights = filter.unsafe_load[width=WIDTH](k)
                sums = weights.fma(power.unsafe_load[width=WIDTH](k), sums)
            var total = sums.reduce_add()
            for k in range(WHOLE, Self.HALF + 1):
                total += filter.unsafe_load(k) * power.unsafe_load(k)
            into.unsafe_store(m, log10(max(total, QUIETEST)))


@extensibility.register("whisper_cpu_log_mel")
struct LogMelOp:
    """Samples -> log10 of band power."""

    @staticmethod
    def execute[
        target: StaticString, n_fft: Int, hop_length: Int, n_wave_columns: Int
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
        """Computes every frame that lies wholly in the samples, [n_frames, n_mels]."""
        comptime assert n_wave_columns % LANES == 0, "tables must be whole vectors"
        comptime assert n_wave_columns > n_fft // 2, "tables must hold all waves"
        var n_columns = cosines.dim_size(1)
        var log_mel = LogMel[n_fft, hop_length](
            into=floats(output),
            samples=floats(samples),
            filters=floats(filters),
            window=floats(window),
            cosines=rebind[Doubles](cosines.unsafe_ptr()),
            sines=rebind[Doubles](sines.unsafe_ptr()),
            n_columns=n_columns,
            n_mels=filters.dim_size(0),
        )
        var n_frames = output.dim_size(0)
        var n_groups = ceildiv(n_frames, FRAMES)
        var n_pieces = min(n_groups, 4 * max_threads(n_threads))
        var n_tasks = n_tasks_for(n_pieces, max_threads(n_threads))

        def task(
            t: Int,
        ) {var log_mel, var n_columns, var n_frames, var n_groups, var n_pieces, var n_tasks}:
            var folded = List[Float64](unsafe_uninit_length=2 * FRAMES * (n_fft // 2 + 1))
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
