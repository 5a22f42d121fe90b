"""Matrix of tokens by audio positions from which a text is aligned with its window.

It is implementations/alignment.py's: softmax over positions, standard score over tokens, median
over seven positions, mean over heads.
"""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from std.math import ceildiv, sqrt
from .aligned_text import N_POSITIONS, N_SOT, check_text_fields, field
from .bind_block import MutableTensor
from .causal_attention import softmax
from .row_block import round_up
from .thread_count import max_threads
from .thread_team import N_COUNTERS, Integers, Worker
from .tile import F32, WIDTH, Floats, Vector, floats

comptime MEDIAN_WIDTH = 7
comptime PAD = MEDIAN_WIDTH // 2
"""Neighbours on each side; no more positions than these are not filtered, as upstream does."""
comptime PART = 8 * WIDTH
"""Positions that are claimed together where a head's tokens are compared."""
comptime N_STEPS = 3


@always_inline
def exchange[low: Int, high: Int](mut values: Array[Vector, MEDIAN_WIDTH]):
    """Puts the smaller of two values first."""
    var is_smaller = values[low].lt(values[high])
    var smaller = is_smaller.select(values[low], values[high])
    values[high] = is_smaller.select(values[high], values[low])
    values[low] = smaller


@always_inline
def median(line: Floats) -> Vector:
    """Returns the medians of a vector of seven neighbours, the first of which begin at `line`.

    The exchanges after which the fourth of seven is their median are Paeth's (1990).
    """
    var values = Array[Vector, MEDIAN_WIDTH](fill=Vector(0))
    comptime for i in range(MEDIAN_WIDTH):
        values[i] = line.unsafe_load[width=WIDTH](i)
    exchange[0, 5](values)
    exchange[0, 3](values)
    exchange[1, 6](values)
    exchange[2, 4](values)
    exchange[0, 1](values)
    exchange[3, 5](values)
    exchange[2, 6](values)
    exchange[2, 3](values)
    exchange[3, 6](values)
    exchange[4, 5](values)
    exchange[1, 4](values)
    exchange[1, 3](values)
    exchange[3, 4](values)
    return values[PAD]


@fieldwise_init
struct AlignmentMatrix(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """The program of a team: softmax by lines, deviation by positions, then filter and mean."""

    var matrix: Floats
    """[n_lines, n_keys]."""
    var scores: Floats
    """Scores before softmax, then weights to be multiplied by shares, [n_heads, n_tokens, n_keys]."""
    var shares: Floats
    """[n_heads, n_tokens]."""
    var means: Floats
    """Over tokens, [n_heads, n_keys]."""
    var deviations: Floats
    """[n_heads, n_keys]."""
    var n_heads: Int
    var n_tokens: Int
    var n_keys: Int
    var first: Int
    """Token of the first line."""
    var n_lines: Int
    var n_positions: Int

    @always_inline
    def n_padded(self) -> Int:
        """Returns the positions in whole vectors, and a vector for neighbours."""
        return round_up(self.n_positions, WIDTH) + WIDTH

    def run(self, mut worker: Worker, own: Floats):
        """Runs all steps; `own` is a workspace of 2 * n_padded floats."""
        while worker.claim_next(self.n_heads * self.n_tokens):
            var line = self.scores.unsafe_offset(worker.piece * self.n_keys)
            self.shares.unsafe_store(
                worker.piece, softmax(line, self.n_positions, self.n_positions, 1)
            )
        var n_parts = ceildiv(self.n_positions, PART)
        while worker.claim_next(self.n_heads * n_parts):
            var head = worker.piece // n_parts
            var position = worker.piece % n_parts * PART
            var stop = min(position + PART, self.n_positions)
            while position + 4 * WIDTH <= stop:
                self.measure[4 * WIDTH](head, position)
                position += 4 * WIDTH
            while position + WIDTH <= stop:
                self.measure[WIDTH](head, position)
                position += WIDTH
            while position < stop:
                self.measure[1](head, position)
                position += 1
        while worker.claim_next(self.n_lines):
            self.average(worker.piece, own, own.unsafe_offset(self.n_padded()))

    @no_inline
    def measure[width: Int](self, head: Int, position: Int):
        """Computes mean and standard deviation over tokens of neighbouring positions."""
        var weights = self.scores.unsafe_offset(head * self.n_tokens * self.n_keys + position)
        var shares = self.shares.unsafe_offset(head * self.n_tokens)
        var n = Float32(self.n_tokens)
        var sum = SIMD[F32, width](0)
        for t in range(self.n_tokens):
            sum += weights.unsafe_load[width=width](t * self.n_keys) * shares.unsafe_load(t)
        var mean = sum / n
        var squares = SIMD[F32, width](0)
        for t in range(self.n_tokens):
            var weight = weights.unsafe_load[width=width](t * self.n_keys) * shares.unsafe_load(t)
            squares += (weight - mean) * (weight - mean)
        var at = head * self.n_keys + position
        self.means.unsafe_store(at, mean)
        self.deviations.unsafe_store(at, sqrt(squares / n))

    @always_inline
    def standardise[width: Int](self, into: Floats, head: Int, line: Int, position: Int):
        """Stores the standard scores of neighbouring positions of a line."""
        var index = head * self.n_tokens + self.first + line
        var at = head * self.n_keys + position
        var weights = self.scores.unsafe_load[width=width](index * self.n_keys + position)
        var centred = weights * self.shares.unsafe_load(index) - self.means.unsafe_load[width=width](
            at
        )
        into.unsafe_store(position, centred / self.deviations.unsafe_load[width=width](at))

    @no_inline
    def average(self, line: Int, scores: Floats, sums: Floats):
        """Computes a line of the matrix; `scores` and `sums` are workspaces of n_padded floats."""
        var n = self.n_positions
        var whole = n // WIDTH * WIDTH
        var inner = scores.unsafe_offset(PAD)
        for j in range(0, self.n_padded(), WIDTH):
            sums.unsafe_store(j, Vector(0))
            scores.unsafe_store(j, Vector(0))
        for head in range(self.n_heads):
            for j in range(0, whole, WIDTH):
                self.standardise[WIDTH](inner, head, line, j)
            for j in range(whole, n):
                self.standardise[1](inner, head, line, j)
            if n > PAD:
                for i in range(PAD):  # reflected at both ends
                    scores.unsafe_store(i, inner.unsafe_load(PAD - i))
                    inner.unsafe_store(n + i, inner.unsafe_load(n - 2 - i))
            for j in range(0, n, WIDTH):
                var sum = sums.unsafe_load[width=WIDTH](j)
                if n > PAD:
                    sum += median(scores.unsafe_offset(j))
                else:
                    sum += inner.unsafe_load[width=WIDTH](j)
                sums.unsafe_store(j, sum)
        var to = self.matrix.unsafe_offset(line * self.n_keys)
        for j in range(n):
            to.unsafe_store(j, sums.unsafe_load(j) / Float32(self.n_heads))


@extensibility.register("whisper_cpu_alignment_matrix")
struct AlignmentMatrixOp:
    """Cross-attention's scores of a text -> matrix of its tokens by positions."""

    @staticmethod
    def execute[
        target: StaticString, text_fields: StaticString
    ](
        matrix: OutputTensor[dtype=F32, rank=2, ...],
        scores: MutableTensor[dtype=F32, rank=3, ...],
        text: InputTensor[dtype=DType.int32, rank=1, ...],
        n_threads: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Takes scores [n_heads, n_tokens, n_audio_ctx], which are lost, to [n_lines, n_audio_ctx].

        Lines are those of <|notimestamps|> and of the text, filled as far as its positions go.
        """
        check_text_fields[text_fields]()
        var n_heads = scores.dim_size(0)
        var n_tokens = scores.dim_size(1)
        var n_keys = scores.dim_size(2)
        var shared = List[Float32](unsafe_uninit_length=n_heads * (n_tokens + 2 * n_keys))
        var shares = rebind[Floats](shared.unsafe_ptr())
        var means = shares.unsafe_offset(n_heads * n_tokens)
        var work = AlignmentMatrix(
            matrix=floats(matrix),
            scores=floats(scores),
            shares=shares,
            means=means,
            deviations=means.unsafe_offset(n_heads * n_keys),
            n_heads=n_heads,
            n_tokens=n_tokens,
            n_keys=n_keys,
            first=field(text, N_SOT),
            n_lines=matrix.dim_size(0),
            n_positions=field(text, N_POSITIONS),
        )
        var counters = List[Int32](length=N_STEPS * N_COUNTERS, fill=0)
        var counters_at = rebind[Integers](counters.unsafe_ptr())
        var n_tasks = max_threads(n_threads)

        def task(t: Int) {var work, var counters_at, var n_tasks}:
            var own = List[Float32](unsafe_uninit_length=2 * work.n_padded())
            var worker = Worker(counters_at, n_tasks)
            work.run(worker, rebind[Floats](own.unsafe_ptr()))
            _ = own^

        sync_parallelize(task, n_tasks)
        _ = counters^
        _ = shared^
