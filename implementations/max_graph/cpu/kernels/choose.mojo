"""What one line of text knows of itself, and which tokens may come next under the rules.

The rules are those of implementations/decoding/rules.py, as ranges of tokens that may come and a
mask of those that never do. Which of them are the likeliest is told by likeliest.mojo.
"""
from std.math import exp
from std.memory import Pointer
from .team import Integers
from .tile import F32, WIDTH, Floats, Vector

comptime LOWEST = Float32(-3e38)

comptime EOT = 0
comptime TIMESTAMP_BEGIN = 1
comptime WITH_TIMESTAMPS = 2

comptime TOKEN = 0
"""Token to feed next, the last one chosen."""
comptime OFFSET = 1
"""Its position."""
comptime N_SAMPLED = 2
comptime PENULTIMATE = 3
comptime LATEST_TIMESTAMP = 4
"""Or -1."""
comptime IS_FINISHED = 5
comptime LIMIT = 6
"""How many tokens may be sampled in all."""
comptime N_FIELDS = 8

comptime NEVER = UInt8(1)
"""Of a mask's bits; the other is the first token's."""

comptime Mask = Pointer[UInt8, MutUntrackedOrigin]


@fieldwise_init
struct Mass(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """The highest logit of some tokens, and the sum of exponentials of all, relative to it."""

    var top: Float32
    var total: Float32

    def join(mut self, other: Self):
        """Adds other tokens."""
        var higher = max(self.top, other.top)
        self.total = self.total * exp(self.top - higher) + other.total * exp(other.top - higher)
        self.top = higher


comptime NONE = Mass(LOWEST, 0)


@fieldwise_init
struct Allowed(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Which tokens may come next, but for those that never do: two ranges."""

    var text_start: Int
    var text_stop: Int
    var times_start: Int
    var times_stop: Int

    @no_inline
    def scan(self, found: Floats, logits: Floats, mask: Mask, start: Int, stop: Int):
        """Leaves in `found` what tokens start to stop weigh: text, then timestamps."""
        var text = mass(logits, mask, max(start, self.text_start), min(stop, self.text_stop))
        var times = mass(logits, mask, max(start, self.times_start), min(stop, self.times_stop))
        found.unsafe_store(0, text.top)
        found.unsafe_store(1, text.total)
        found.unsafe_store(2, times.top)
        found.unsafe_store(3, times.total)


@fieldwise_init
struct Hypothesis(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """One line of text."""

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
        return Self(
            Int(state.unsafe_load(TOKEN)),
            Int(state.unsafe_load(OFFSET)),
            Int(state.unsafe_load(N_SAMPLED)),
            Int(state.unsafe_load(PENULTIMATE)),
            Int(state.unsafe_load(LATEST_TIMESTAMP)),
            state.unsafe_load(IS_FINISHED) != 0,
            Int(state.unsafe_load(LIMIT)),
            sum_logprob,
            Int(rules.unsafe_load(EOT)),
            Int(rules.unsafe_load(TIMESTAMP_BEGIN)),
            rules.unsafe_load(WITH_TIMESTAMPS) != 0,
        )

    def write(self, state: Integers):
        state.unsafe_store(TOKEN, Int32(self.token))
        state.unsafe_store(OFFSET, Int32(self.n_past))
        state.unsafe_store(N_SAMPLED, Int32(self.n_sampled))
        state.unsafe_store(PENULTIMATE, Int32(self.penultimate))
        state.unsafe_store(LATEST_TIMESTAMP, Int32(self.latest))
        state.unsafe_store(IS_FINISHED, Int32(self.is_finished))

    def allowed(self, n_vocab: Int) -> Allowed:
        """What may come next."""
        var ranges = Allowed(0, self.begin, self.begin, n_vocab)
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
        """Takes a token."""
        self.sum_logprob += logprob
        self.penultimate = self.token
        # Where nothing may come, or nothing is a number, the text ends.
        self.token = token if token >= 0 else self.eot
        self.n_past += 1
        self.n_sampled += 1
        if self.token >= self.begin:
            self.latest = self.token
        self.is_finished = self.token == self.eot or self.n_sampled >= self.limit


@fieldwise_init
struct Lines(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """What is known of the rows as lines of text, and room to judge their logits in."""

    var state: Integers
    """[n_rows, N_FIELDS], as `Hypothesis` reads it."""
    var rules: Integers
    var mask: Mask
    var logits: Floats
    """[n_rows, n_vocab]."""
    var found: Floats
    """[n_pieces, n_rows, N_FOUND]."""
    var largest_scale: Float32
    """Of the embedding's rows."""

    @always_inline
    def hypothesis(self, row: Int) -> Hypothesis:
        return Hypothesis.read(self.state.unsafe_offset(row * N_FIELDS), self.rules, 0)


@no_inline
def mass(logits: Floats, mask: Mask, start: Int, stop: Int) -> Mass:
    """Of tokens start to stop; masked ones are overwritten with LOWEST."""
    if start >= stop:
        return NONE
    var whole = start + (stop - start) // WIDTH * WIDTH
    var tops = Vector(LOWEST)
    for i in range(start, whole, WIDTH):
        var forbidden = (mask.unsafe_load[width=WIDTH](i) & NEVER).ne(0)
        var line = forbidden.select(Vector(LOWEST), logits.unsafe_load[width=WIDTH](i))
        logits.unsafe_store(i, line)
        tops = max(tops, line)
    var top = tops.reduce_max()
    for i in range(whole, stop):
        if mask.unsafe_load(i) & NEVER != 0:
            logits.unsafe_store(i, LOWEST)
        top = max(top, logits.unsafe_load(i))
    if not top > LOWEST:
        return NONE
    var totals = Vector(0)
    for i in range(start, whole, WIDTH):
        totals += exp(logits.unsafe_load[width=WIDTH](i) - top)
    var total = totals.reduce_add()
    for i in range(whole, stop):
        total += exp(logits.unsafe_load(i) - top)
    return Mass(top, total)
