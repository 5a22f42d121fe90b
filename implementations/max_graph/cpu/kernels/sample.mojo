"""The operation that draws each hypothesis's next token, at a temperature above 0.

Draws and their order of sums are those of implementations/decoding/sampling.py: tokens in their
order, weights in float64.
"""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from std.math import ceildiv, exp, log
from .decode import integers
from .thread_count import max_threads
from .tile import F32, LOWEST, WIDTH, Floats, Vector, floats
from .token_rules import EMPTY, N_FIELDS, Hypothesis, LogSumExp, Mask, check_token_state, logsumexp_of

comptime F64 = DType.float64
comptime LANES = WIDTH // 2
"""Doubles of a vector."""
comptime CHUNK = 512
"""Tokens whose weights are summed at once; the draw looks into one of the sums."""
comptime NEGLIGIBLE = Float32(-40)
"""Logits so far below the highest, over the temperature, add less than what float64 keeps."""


@fieldwise_init
struct TokenWeights(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """The weights of a row's tokens: exp(logit / temperature), relative to the highest."""

    var logits: Floats
    """[n_vocab], LOWEST where a token is not allowed."""
    var n_vocab: Int
    var temperature: Float32
    var highest: Float32

    @always_inline
    def vector[width: Int](self, token: Int) -> SIMD[F64, width]:
        """Returns the weights of neighbouring tokens."""
        var scaled = self.logits.unsafe_load[width=width](token) / self.temperature
        return exp(scaled.cast[F64]() - (self.highest / self.temperature).cast[F64]())

    def sum(self, start: Int, stop: Int) -> Float64:
        """Returns the sum of the weights of tokens start to stop."""
        var whole = start + (stop - start) // WIDTH * WIDTH
        var top = Vector(LOWEST)
        for token in range(start, whole, WIDTH):
            top = max(top, self.logits.unsafe_load[width=WIDTH](token))
        var total = Float64(0)
        if (top.reduce_max() - self.highest) / self.temperature > NEGLIGIBLE:
            var sums = SIMD[F64, LANES](0)
            for token in range(start, whole, LANES):
                sums += self.vector[LANES](token)
            total = sums.reduce_add()
        for token in range(whole, stop):
            total += self.vector[1](token)[0]
        return total

    def draw(self, at: Float64) -> Int:
        """Returns the token at `at` (0 to 1) of the cumulative weights; -1 where there is none."""
        if not self.highest > LOWEST:
            return -1
        var n_chunks = ceildiv(self.n_vocab, CHUNK)
        var sums = List[Float64](length=n_chunks, fill=0)
        var total = Float64(0)
        for chunk in range(n_chunks):
            sums[chunk] = self.sum(chunk * CHUNK, min((chunk + 1) * CHUNK, self.n_vocab))
            total += sums[chunk]
        var target = at * total
        var below = Float64(0)
        var last = -1
        for chunk in range(n_chunks):
            if sums[chunk] == 0:
                continue
            if below + sums[chunk] <= target:
                below += sums[chunk]
                last = min((chunk + 1) * CHUNK, self.n_vocab) - 1
                continue
            for token in range(chunk * CHUNK, min((chunk + 1) * CHUNK, self.n_vocab)):
                var weight = self.vector[1](token)[0]
                if weight > 0:
                    below += weight
                    last = token
                    if below > target:
                        return token
        while last >= 0 and not self.logits.unsafe_load(last) > LOWEST:  # rounded past the end
            last -= 1
        return last


@fieldwise_init
struct SamplingRow(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """One hypothesis and its logits, from which a token is drawn."""

    var hypothesis: Hypothesis
    var logits: Floats
    """[n_vocab]; not written to."""
    var mask: Mask
    var n_vocab: Int

    def sample(self, into: Floats, workspace: Floats, at: Float64, temperature: Float32):
        """Stores the token at `at` of the cumulative weights, and its log-probability.

        The log-probability is under the rules and without the temperature. Where no token is
        allowed, or no logit is a number, the token is -1.

        Args:
            into: [2].
            workspace: [n_vocab], for the logits of allowed tokens.
            at: Random number from 0 to 1.
            temperature: Above 0.
        """
        var logsumexp = self.mask_logits(workspace)
        var weights = TokenWeights(workspace, self.n_vocab, temperature, logsumexp.max)
        var token = weights.draw(at)
        into.unsafe_store(0, Float32(token))
        var logit = workspace.unsafe_load(token) if token >= 0 else LOWEST
        into.unsafe_store(1, logit - (logsumexp.max + log(logsumexp.sum)))

    def mask_logits(self, into: Floats) -> LogSumExp:
        """Copies the logits of allowed tokens, the others being LOWEST; returns their reduction.

        Text is dropped where all timestamps together are more likely than any one text token.
        """
        var allowed = self.hypothesis.allowed(self.n_vocab)
        fill(into, 0, self.n_vocab)
        copy(into, self.logits, allowed.text_start, allowed.text_stop)
        copy(into, self.logits, allowed.times_start, allowed.times_stop)
        var text = self.reduce(into, allowed.text_start, allowed.text_stop)
        var times = self.reduce(into, allowed.times_start, allowed.times_stop)
        var both = text
        both.merge(times)
        var times_sum = times.sum * exp(times.max - both.max)
        if self.hypothesis.with_timestamps and times_sum > exp(text.max - both.max):
            fill(into, 0, self.hypothesis.begin)
            return times
        return both

    def reduce(self, logits: Floats, start: Int, stop: Int) -> LogSumExp:
        """Reduces tokens start to stop; masked ones become LOWEST.

        Chunks are summed apart: beside one high logit a long sum would lose thousands of low ones.
        """
        var total = EMPTY
        for first in range(start, stop, CHUNK):
            total.merge(logsumexp_of(logits, self.mask, first, min(first + CHUNK, stop)))
        return total


def fill(into: Floats, start: Int, stop: Int):
    """Sets start to stop to LOWEST."""
    for i in range(start, stop):
        into.unsafe_store(i, LOWEST)


def copy(into: Floats, source: Floats, start: Int, stop: Int):
    """Copies start to stop."""
    for i in range(start, stop):
        into.unsafe_store(i, source.unsafe_load(i))


@extensibility.register("whisper_cpu_sample")
struct SampleOp:
    """Logits of each hypothesis -> a token drawn under the rules."""

    @staticmethod
    def execute[
        target: StaticString,
        n_vocab: Int,
        state_fields: StaticString,
        rule_fields: StaticString,
        never: Int,
    ](
        choice: OutputTensor[dtype=F32, rank=2, ...],
        logits: InputTensor[dtype=F32, rank=2, ...],
        state: InputTensor[dtype=DType.int32, rank=2, ...],
        rules: InputTensor[dtype=DType.int32, rank=1, ...],
        mask: InputTensor[dtype=DType.uint8, rank=1, ...],
        draws: InputTensor[dtype=F64, rank=1, ...],
        temperature: InputTensor[dtype=F32, rank=1, ...],
        n_threads: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Gives tokens and log-probabilities, [n_group, 2], of logits [n_group, n_vocab]."""
        check_token_state[state_fields, rule_fields, never]()
        comptime assert n_vocab < 1 << 24, "token numbers must be exact in float32"
        var n_group = logits.dim_size(0)
        var n_tasks = min(n_group, max_threads(n_threads))
        var into = floats(choice)
        var rows = floats(logits)
        var states = integers(state)
        var numbers = integers(rules)
        var masked = rebind[Mask](mask.unsafe_ptr())
        var randoms = List[Float64](length=n_group, fill=0)
        for row in range(n_group):
            randoms[row] = draws[row]
        var at = randoms.unsafe_ptr()
        var divisor = temperature[0]

        def task(
            t: Int,
        ) {var n_group, var n_tasks, var into, var rows, var states, var numbers, var masked, var at, var divisor}:
            var workspace = List[Float32](unsafe_uninit_length=n_vocab)
            for row in range(t, n_group, n_tasks):
                var state = states.unsafe_offset(row * N_FIELDS)
                SamplingRow(
                    hypothesis=Hypothesis.read(state, numbers, 0),
                    logits=rows.unsafe_offset(row * n_vocab),
                    mask=masked,
                    n_vocab=n_vocab,
                ).sample(
                    into.unsafe_offset(2 * row),
                    rebind[Floats](workspace.unsafe_ptr()),
                    at[unsafe_offset=row],
                    divisor,
                )
            _ = workspace^

        sync_parallelize(task, n_tasks)
        _ = randoms^
