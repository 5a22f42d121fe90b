"""The likeliest of the tokens that may come next, and their log-probabilities under the rules.

Pieces of the vocabulary have been weighed before, so that only the few that may hold one of the
likeliest are looked at again. Logits of high bytes are completed there, before they are compared.
"""
from std.math import exp, log
from .choose import LOWEST, NONE, Hypothesis, Mass
from .embedding import Embedding
from .tile import PANEL, Floats

comptime N_FOUND = 4
"""Floats that a piece of one row's logits leaves behind: two times the fields of `Mass`."""

comptime NEGLIGIBLE = Float32(25)
"""So far below the highest a logit's exponential is less than what float32 keeps of the sum."""


@fieldwise_init
struct Ranking(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """The n_best highest of the logits that have been offered, highest first, and their tokens."""

    var tokens: Floats
    """As floats, which are exact for every vocabulary; -1 where there is none."""
    var logits: Floats
    var n_best: Int

    def clear(self):
        for i in range(self.n_best):
            self.tokens.unsafe_store(i, Float32(-1))
            self.logits.unsafe_store(i, LOWEST)

    def offer(self, token: Float32, logit: Float32):
        """Of equal ones the first is kept before those that come later."""
        if not logit > self.logits.unsafe_load(self.n_best - 1):
            return
        var at = self.n_best - 1
        while at > 0 and logit > self.logits.unsafe_load(at - 1):
            self.tokens.unsafe_store(at, self.tokens.unsafe_load(at - 1))
            self.logits.unsafe_store(at, self.logits.unsafe_load(at - 1))
            at -= 1
        self.tokens.unsafe_store(at, token)
        self.logits.unsafe_store(at, logit)


@fieldwise_init
struct Row(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """One row's logits, and what the pieces of them weigh."""

    var logits: Floats
    """[n_vocab]; those of tokens that never come are LOWEST."""
    var x: Floats
    """What they were computed from, [n_state]."""
    var found: Floats
    """[n_pieces, N_FOUND], `stride` floats from one piece to the next."""
    var stride: Int
    var n_pieces: Int


@fieldwise_init
struct Kind(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Text, or timestamps."""

    var field: Int
    """Where pieces have it in `found`."""
    var start: Int
    var stop: Int
    var ranking: Ranking
    var mass: Mass
    var least: Float32
    """What a logit must be for its token to be looked at."""

    def weigh(mut self, row: Row, doubt: Float32):
        """Joins the pieces; their n_best highest logits, less the doubt, tell the least."""
        self.ranking.clear()
        for piece in range(row.n_pieces):
            self.ranking.offer(0, row.found.unsafe_load(piece * row.stride + self.field))
        self.mass = Mass(self.ranking.logits.unsafe_load(0), 0)
        for piece in range(row.n_pieces):
            var at = row.found.unsafe_offset(piece * row.stride + self.field)
            var below = at.unsafe_load(0) - self.mass.top
            if below > -NEGLIGIBLE:
                self.mass.total += at.unsafe_load(1) * exp(below)
        self.least = self.ranking.logits.unsafe_load(self.ranking.n_best - 1) - doubt
        self.ranking.clear()

    @always_inline
    def holds(self, token: Int) -> Bool:
        return self.start <= token < self.stop

    @always_inline
    def may_hold(self, row: Row, piece: Int, doubt: Float32) -> Bool:
        """Whether a piece may have one of the likeliest."""
        var top = row.found.unsafe_load(piece * row.stride + self.field)
        return top > LOWEST and top + doubt >= self.least

    def rank(mut self, before: Floats, row: Row, first: Int, stop: Int):
        """Offers the tokens of a panel; `before` are their logits as they were weighed."""
        for token in range(max(first, self.start), min(stop, self.stop)):
            var logit = row.logits.unsafe_load(token)
            if logit > LOWEST / 2:
                self.ranking.offer(Float32(token), logit)
                var was = before.unsafe_load(token - first)
                if logit != was and self.mass.top - was < NEGLIGIBLE:
                    self.mass.total += exp(logit - self.mass.top) - exp(was - self.mass.top)


@no_inline
def rank_likeliest[
    type: DType
](
    embedding: Embedding[type],
    row: Row,
    hypothesis: Hypothesis,
    largest_scale: Float32,
    into: Ranking,
    room: Floats,
):
    """Leaves the likeliest tokens in `into`, with log-probabilities for logits.

    Timestamps go before text where together they are likelier than any one text token. `room` is
    for 4 * n_best + 3 * PANEL floats.
    """
    var n_best = into.n_best
    var allowed = hypothesis.allowed(embedding.n_vocab())
    var own = Ranking(room, room.unsafe_offset(n_best), n_best)
    var other = Ranking(room.unsafe_offset(2 * n_best), room.unsafe_offset(3 * n_best), n_best)
    var before = room.unsafe_offset(4 * n_best)
    var sums = before.unsafe_offset(PANEL)
    var unit = embedding.doubt(row.x)
    var doubt = unit * largest_scale
    var text = Kind(0, allowed.text_start, allowed.text_stop, own, NONE, LOWEST)
    var times = Kind(2, allowed.times_start, allowed.times_stop, other, NONE, LOWEST)
    text.weigh(row, doubt)
    times.weigh(row, doubt)
    for piece in range(row.n_pieces):
        if not (text.may_hold(row, piece, doubt) or times.may_hold(row, piece, doubt)):
            continue
        var n_panels = (embedding.n_vocab() + PANEL - 1) // PANEL
        for panel in range(
            piece * n_panels // row.n_pieces, (piece + 1) * n_panels // row.n_pieces
        ):
            var first = panel * PANEL
            var stop = min(first + PANEL, embedding.n_vocab())
            var is_wanted = False
            for token in range(first, stop):
                var logit = row.logits.unsafe_load(token)
                before.unsafe_store(token - first, logit)
                var highest = logit + unit * embedding.scale(token)
                is_wanted |= text.holds(token) and highest >= text.least
                is_wanted |= times.holds(token) and highest >= times.least
            if is_wanted:
                embedding.complete(row.logits, row.x, panel, sums)
                text.rank(before, row, first, stop)
                times.rank(before, row, first, stop)
    var all = text.mass
    all.join(times.mass)
    var times_total = times.mass.total * exp(times.mass.top - all.top)
    var best_text = own.logits.unsafe_load(0)
    var is_time = hypothesis.with_timestamps and times_total > exp(best_text - all.top)
    if is_time:
        all = times.mass
    var log_total = all.top + log(all.total)
    into.clear()
    if not is_time:
        for i in range(n_best):
            into.offer(own.tokens.unsafe_load(i), own.logits.unsafe_load(i) - log_total)
    for i in range(n_best):
        into.offer(other.tokens.unsafe_load(i), other.logits.unsafe_load(i) - log_total)
