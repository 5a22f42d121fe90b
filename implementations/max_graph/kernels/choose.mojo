"""The likeliest token under the rules, and what follows from it, for greedy decoding.

The rules are those of implementations/decoding/rules.py, as ranges of tokens that may come and a
mask of those that never do; no logits of a step are read twice.
"""
from std.math import exp, iota, log
from std.memory import Pointer
from .team import Integers
from .tile import F32, WIDTH, Floats, Vector

comptime LOWEST = Float32(-3e38)
comptime N_FOUND = 6
"""Floats that a piece of a step's logits leaves behind: two times the fields of `Candidates`."""

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

comptime Mask = Pointer[UInt8, MutUntrackedOrigin]


@fieldwise_init
struct Candidates(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """The likeliest of some tokens, and the sum of exponentials of all, relative to it."""

    var top: Float32
    var token: Float32
    """As a float, which is exact for every vocabulary; -1 where there is none."""
    var total: Float32

    def join(mut self, other: Self):
        """Adds tokens that come later in the vocabulary; of equal ones the first is kept."""
        var higher = max(self.top, other.top)
        self.total = self.total * exp(self.top - higher) + other.total * exp(other.top - higher)
        if other.top > self.top:
            self.token = other.token
        self.top = higher


comptime NONE = Candidates(LOWEST, -1, 0)


@fieldwise_init
struct Hypothesis(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """What one line of text knows of itself, and which tokens may come next."""

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

    @no_inline
    def scan(self, found: Floats, logits: Floats, mask: Mask, start: Int, stop: Int):
        """Leaves in `found` what tokens start to stop offer: text, then timestamps."""
        var text_start = 0
        var text_stop = self.begin
        var times_start = self.begin
        var times_stop = stop
        if self.with_timestamps:
            var after_one = self.token >= self.begin
            var after_two = after_one and (self.n_sampled < 2 or self.penultimate >= self.begin)
            if after_two:
                times_stop = 0
            elif after_one:
                text_start = self.eot
            if self.latest >= 0:
                # A closing timestamp may come again as the next opening one.
                var may_repeat = after_one and not after_two
                times_start = self.latest if may_repeat else self.latest + 1
        var text = candidates(logits, mask, max(start, text_start), min(stop, text_stop))
        var times = candidates(logits, mask, max(start, times_start), min(stop, times_stop))
        found.unsafe_store(0, text.top)
        found.unsafe_store(1, text.token)
        found.unsafe_store(2, text.total)
        found.unsafe_store(3, times.top)
        found.unsafe_store(4, times.token)
        found.unsafe_store(5, times.total)

    @no_inline
    def advance(mut self, found: Floats, n_pieces: Int):
        """Takes the likeliest token of all pieces.

        Timestamps go before text where together they are likelier than any one text token.
        """
        var text = NONE
        var times = NONE
        for piece in range(n_pieces):
            var at = found.unsafe_offset(piece * N_FOUND)
            text.join(Candidates(at.unsafe_load(0), at.unsafe_load(1), at.unsafe_load(2)))
            times.join(Candidates(at.unsafe_load(3), at.unsafe_load(4), at.unsafe_load(5)))
        var chosen = text
        var all = text
        all.join(times)
        var top = all.top
        var times_total = times.total * exp(times.top - top)
        if self.with_timestamps and times_total > exp(text.top - top):
            chosen = times
            all = times
        elif times.top > text.top:
            chosen = times
        self.sum_logprob += chosen.top - (all.top + log(all.total))
        self.penultimate = self.token
        # Where nothing may come, or nothing is a number, the text ends.
        self.token = Int(chosen.token) if chosen.token >= 0 else self.eot
        self.n_past += 1
        self.n_sampled += 1
        if self.token >= self.begin:
            self.latest = self.token
        self.is_finished = self.token == self.eot or self.n_sampled >= self.limit


@no_inline
def candidates(logits: Floats, mask: Mask, start: Int, stop: Int) -> Candidates:
    """Of tokens start to stop; masked ones are overwritten with LOWEST."""
    if start >= stop:
        return NONE
    var whole = start + (stop - start) // WIDTH * WIDTH
    var tops = Vector(LOWEST)
    for i in range(start, whole, WIDTH):
        var forbidden = mask.unsafe_load[width=WIDTH](i).ne(0)
        var line = forbidden.select(Vector(LOWEST), logits.unsafe_load[width=WIDTH](i))
        logits.unsafe_store(i, line)
        tops = max(tops, line)
    var top = tops.reduce_max()
    for i in range(whole, stop):
        if mask.unsafe_load(i) != 0:
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
    var token = start
    while token + WIDTH <= whole:
        if logits.unsafe_load[width=WIDTH](token).eq(top).reduce_or():
            break
        token += WIDTH
    while token < stop - 1 and logits.unsafe_load(token) != top:
        token += 1
    return Candidates(top, Float32(token), total)
