"""State of a hypothesis, and the tokens that the rules allow next.

The rules are those of implementations/decoding/rules.py, as ranges of allowed tokens and a mask of
tokens that are never allowed. The most likely of them are selected in top_k.mojo.
"""
from std.math import exp
from std.memory import Pointer
from .thread_team import Integers
from .tile import F32, LOWEST, WIDTH, Floats, Vector

comptime RULE_FIELDS = StaticString(
    "eot timestamp_begin with_timestamps max_initial_timestamp no_speech"
)
"""Numbers of the rules in their order, as Python spells them."""
comptime EOT = 0
comptime TIMESTAMP_BEGIN = 1
comptime WITH_TIMESTAMPS = 2

comptime STATE_FIELDS = StaticString(
    "token offset n_sampled penultimate latest is_finished limit endings_left"
)
"""Fields of a hypothesis in their order, as Python spells them."""
comptime TOKEN = 0
"""Token to feed next, the last one sampled."""
comptime OFFSET = 1
"""Position of that token."""
comptime N_SAMPLED = 2
comptime PENULTIMATE = 3
comptime LATEST = 4
"""Latest timestamp, or -1."""
comptime IS_FINISHED = 5
comptime LIMIT = 6
"""Tokens that may be sampled in all."""
comptime N_FIELDS = 8

comptime NEVER = UInt8(1)
"""Bit of a token that is never allowed; the other bit of the mask is for first tokens."""

comptime Mask = Pointer[UInt8, MutUntrackedOrigin]


@always_inline
def check_token_state[state_fields: StaticString, rule_fields: StaticString, never: Int]():
    """Refuses to compile where Python orders the fields in another way."""
    comptime assert state_fields == STATE_FIELDS, "Python and Mojo differ in a state's fields"
    comptime assert rule_fields == RULE_FIELDS, "Python and Mojo differ in the rules' order"
    comptime assert never == Int(NEVER), "Python and Mojo differ in the mask's bits"


@fieldwise_init
struct LogSumExp(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """The highest of some logits, and the sum of exponentials of all, relative to it."""

    var max: Float32
    var sum: Float32

    def merge(mut self, other: Self):
        """Adds other logits."""
        var higher = max(self.max, other.max)
        self.sum = self.sum * exp(self.max - higher) + other.sum * exp(other.max - higher)
        self.max = higher


comptime EMPTY = LogSumExp(LOWEST, 0)
"""Reduction of no logits."""


@fieldwise_init
struct AllowedTokens(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Two ranges of tokens, text and timestamps; masked tokens are among them."""

    var text_start: Int
    var text_stop: Int
    var times_start: Int
    var times_stop: Int

    @no_inline
    def scan(self, partials: Floats, logits: Floats, mask: Mask, start: Int, stop: Int):
        """Reduces a piece of a row's logits.

        Args:
            partials: Filled with max and sum of text, then of timestamps, as in `LogSumExp`.
            logits: The row's logits, [n_vocab]; masked ones in the two ranges become LOWEST.
            mask: Mask of tokens, [n_vocab].
            start: First token of the piece.
            stop: End of the piece.
        """
        var text = logsumexp_of(
            logits, mask, max(start, self.text_start), min(stop, self.text_stop)
        )
        var times = logsumexp_of(
            logits, mask, max(start, self.times_start), min(stop, self.times_stop)
        )
        partials.unsafe_store(0, text.max)
        partials.unsafe_store(1, text.sum)
        partials.unsafe_store(2, times.max)
        partials.unsafe_store(3, times.sum)


@fieldwise_init
struct Hypothesis(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """One hypothesis: its state, and the rules that are numbers."""

    var token: Int
    var n_past: Int
    var n_sampled: Int
    var penultimate: Int
    var latest: Int
    var is_finished: Bool
    var limit: Int
    var sum_logprob: Float32
    var eot: Int
    var begin: Int
    var with_timestamps: Bool

    @staticmethod
    def read(state: Integers, rules: Integers, sum_logprob: Float32) -> Self:
        """Reads a state [N_FIELDS] and the rules' numbers."""
        return Self(
            token=Int(state.unsafe_load(TOKEN)),
            n_past=Int(state.unsafe_load(OFFSET)),
            n_sampled=Int(state.unsafe_load(N_SAMPLED)),
            penultimate=Int(state.unsafe_load(PENULTIMATE)),
            latest=Int(state.unsafe_load(LATEST)),
            is_finished=state.unsafe_load(IS_FINISHED) != 0,
            limit=Int(state.unsafe_load(LIMIT)),
            sum_logprob=sum_logprob,
            eot=Int(rules.unsafe_load(EOT)),
            begin=Int(rules.unsafe_load(TIMESTAMP_BEGIN)),
            with_timestamps=rules.unsafe_load(WITH_TIMESTAMPS) != 0,
        )

    def write(self, state: Integers):
        """Writes all that changes from step to step, but for the sum of log-probabilities."""
        state.unsafe_store(TOKEN, Int32(self.token))
        state.unsafe_store(OFFSET, Int32(self.n_past))
        state.unsafe_store(N_SAMPLED, Int32(self.n_sampled))
        state.unsafe_store(PENULTIMATE, Int32(self.penultimate))
        state.unsafe_store(LATEST, Int32(self.latest))
        state.unsafe_store(IS_FINISHED, Int32(self.is_finished))

    def allowed(self, n_vocab: Int) -> AllowedTokens:
        """Returns the tokens that the rules on timestamps allow next."""
        var ranges = AllowedTokens(0, self.begin, self.begin, n_vocab)
        if self.with_timestamps:
            var after_one = self.token >= self.begin
            var after_two = after_one and (self.n_sampled < 2 or self.penultimate >= self.begin)
            if after_two:
                ranges.times_stop = 0
            elif after_one:
                ranges.text_start = self.eot
            if self.latest >= 0:
                # A closing timestamp may come again as the next opening one.
                var may_repeat = after_one and not after_two
                ranges.times_start = self.latest if may_repeat else self.latest + 1
        return ranges

    def advance(mut self, token: Int, logprob: Float32):
        """Appends a token; -1, where none was allowed or no logit is a number, ends the text."""
        self.sum_logprob += logprob
        self.penultimate = self.token
        self.token = token if token >= 0 else self.eot
        self.n_past += 1
        self.n_sampled += 1
        if self.token >= self.begin:
            self.latest = self.token
        self.is_finished = self.token == self.eot or self.n_sampled >= self.limit


@fieldwise_init
struct Hypotheses(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """States and rules of all rows, and the workspace in which their logits are ranked."""

    var state: Integers
    """[n_rows, N_FIELDS], as `Hypothesis` reads it."""
    var rules: Integers
    """[N_RULES] of all rows, or [n_rows, N_RULES]."""
    var rules_stride: Int
    """Integers from one row's rules to the next's, 0 where all have the same."""
    var mask: Mask
    """Mask of tokens where all rows have the same."""
    var masks: Pointer[Int64, MutUntrackedOrigin]
    """Addresses of each row's mask, `mask_stride` numbers apart."""
    var mask_stride: Int
    """0 where all rows have the same mask."""
    var logits: Floats
    """[n_rows, n_vocab]."""
    var partials: Floats
    """[n_pieces, n_rows, N_PARTIALS]."""
    var max_scale: Float32
    """Largest scale of the embedding's rows."""

    @always_inline
    def hypothesis(self, row: Int) -> Hypothesis:
        """Returns a row's hypothesis, its sum of log-probabilities left out."""
        var rules = self.rules.unsafe_offset(row * self.rules_stride)
        return Hypothesis.read(self.state.unsafe_offset(row * N_FIELDS), rules, 0)

    @always_inline
    def mask_of(self, row: Int) -> Mask:
        """Returns a row's mask of tokens, [n_vocab]."""
        if self.mask_stride == 0:
            return self.mask
        return Mask(unsafe_from_address=Int(self.masks.unsafe_load(row * self.mask_stride)))


@no_inline
def logsumexp_of(logits: Floats, mask: Mask, start: Int, stop: Int) -> LogSumExp:
    """Reduces the logits of tokens start to stop; masked ones are overwritten with LOWEST."""
    if start >= stop:
        return EMPTY
    var whole = start + (stop - start) // WIDTH * WIDTH
    var lane_max = Vector(LOWEST)
    for i in range(start, whole, WIDTH):
        var is_masked = (mask.unsafe_load[width=WIDTH](i) & NEVER).ne(0)
        var masked = is_masked.select(Vector(LOWEST), logits.unsafe_load[width=WIDTH](i))
        logits.unsafe_store(i, masked)
        lane_max = max(lane_max, masked)
    var highest = lane_max.reduce_max()
    for i in range(whole, stop):
        if mask.unsafe_load(i) & NEVER != 0:
            logits.unsafe_store(i, LOWEST)
        highest = max(highest, logits.unsafe_load(i))
    if not highest > LOWEST:
        return EMPTY
    var lane_sums = Vector(0)
    for i in range(start, whole, WIDTH):
        lane_sums += exp(logits.unsafe_load[width=WIDTH](i) - highest)
    var sum = lane_sums.reduce_add()
    for i in range(whole, stop):
        sum += exp(logits.unsafe_load(i) - highest)
    return LogSumExp(highest, sum)
