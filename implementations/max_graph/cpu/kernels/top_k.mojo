"""Selection of the k most likely allowed tokens, and their log-probabilities under the rules.

Pieces of the vocabulary have been reduced before, so that only the few pieces that may hold one of
the top k are looked at again. Where logits are of the embedding's high bytes alone, the low bytes
are added there, before logits are compared.
"""
from std.math import exp, log
from .embedding import Embedding
from .tile import LOWEST, PANEL, Floats
from .token_rules import EMPTY, Hypothesis, LogSumExp

comptime N_PARTIALS = 4
"""Floats to which a piece of one row's logits is reduced: a `LogSumExp` of text, one of times."""

comptime NEGLIGIBLE = Float32(25)
"""So far below the highest a logit's exponential is less than what float32 keeps of the sum."""


@fieldwise_init
struct TopK(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """The k highest of the logits that were inserted, highest first, and their tokens."""

    var tokens: Floats
    """Token numbers in float32, which is exact for them; -1 where there is none."""
    var logits: Floats
    var k: Int

    def clear(self):
        """Removes all."""
        for i in range(self.k):
            self.tokens.unsafe_store(i, Float32(-1))
            self.logits.unsafe_store(i, LOWEST)

    def insert(self, token: Float32, logit: Float32):
        """Inserts a logit if it is high enough; of equal ones the first stays ahead."""
        if not logit > self.logits.unsafe_load(self.k - 1):
            return
        var at = self.k - 1
        while at > 0 and logit > self.logits.unsafe_load(at - 1):
            self.tokens.unsafe_store(at, self.tokens.unsafe_load(at - 1))
            self.logits.unsafe_store(at, self.logits.unsafe_load(at - 1))
            at -= 1
        self.tokens.unsafe_store(at, token)
        self.logits.unsafe_store(at, logit)


@fieldwise_init
struct RowLogits(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """One row's logits, and what its pieces were reduced to."""

    var logits: Floats
    """[n_vocab]; those of masked tokens are LOWEST."""
    var x: Floats
    """The state from which logits are computed, [n_state]."""
    var partials: Floats
    """[n_pieces, N_PARTIALS], `stride` floats from one piece to the next."""
    var stride: Int
    var n_pieces: Int


@fieldwise_init
struct TokenRange(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """The allowed text tokens, or the allowed timestamps."""

    var field: Int
    """Index of the range's `LogSumExp` in partials."""
    var start: Int
    var stop: Int
    var top_k: TopK
    var logsumexp: LogSumExp
    var threshold: Float32
    """A token whose logit is lower is none of the top k."""

    def combine_partials(mut self, row: RowLogits, error_bound: Float32):
        """Joins the pieces; their k highest logits, less the error bound, give the threshold."""
        self.top_k.clear()
        for piece in range(row.n_pieces):
            self.top_k.insert(0, row.partials.unsafe_load(piece * row.stride + self.field))
        self.logsumexp = LogSumExp(self.top_k.logits.unsafe_load(0), 0)
        for piece in range(row.n_pieces):
            var at = row.partials.unsafe_offset(piece * row.stride + self.field)
            var below = at.unsafe_load(0) - self.logsumexp.max
            if below > -NEGLIGIBLE:
                self.logsumexp.sum += at.unsafe_load(1) * exp(below)
        self.threshold = self.top_k.logits.unsafe_load(self.top_k.k - 1) - error_bound
        self.top_k.clear()

    @always_inline
    def holds(self, token: Int) -> Bool:
        """Returns True for a token of the range."""
        return self.start <= token < self.stop

    @always_inline
    def may_hold(self, row: RowLogits, piece: Int, error_bound: Float32) -> Bool:
        """Returns True where a piece may hold one of the top k."""
        var highest = row.partials.unsafe_load(piece * row.stride + self.field)
        return highest > LOWEST and highest + error_bound >= self.threshold

    def insert_panel(mut self, coarse: Floats, row: RowLogits, first: Int, stop: Int):
        """Inserts the tokens of a panel, and corrects the sum by what the low bytes changed.

        Args:
            coarse: Logits of the panel as they were reduced, [PANEL].
            row: The row, with complete logits of the panel.
            first: First token of the panel.
            stop: End of the panel.
        """
        for token in range(max(first, self.start), min(stop, self.stop)):
            var logit = row.logits.unsafe_load(token)
            if logit > LOWEST / 2:
                self.top_k.insert(Float32(token), logit)
                var was = coarse.unsafe_load(token - first)
                var highest = self.logsumexp.max
                if logit != was and highest - was < NEGLIGIBLE:
                    self.logsumexp.sum += exp(logit - highest) - exp(was - highest)


@no_inline
def select_top_k[
    dtype: DType
](
    embedding: Embedding[dtype],
    row: RowLogits,
    hypothesis: Hypothesis,
    *,
    max_scale: Float32,
    into: TopK,
    workspace: Floats,
):
    """Selects the k most likely tokens of a row.

    Text is dropped where all timestamps together are more likely than any one text token.

    Args:
        embedding: Matrix of the logits.
        row: Logits and partials.
        hypothesis: The row's state and rules.
        max_scale: Largest scale of the embedding's high bytes.
        into: Filled with tokens and, for logits, log-probabilities.
        workspace: 4 * k + 3 * PANEL floats.
    """
    var k = into.k
    var allowed = hypothesis.allowed(embedding.n_vocab())
    var top_text = TopK(workspace, workspace.unsafe_offset(k), k)
    var top_times = TopK(workspace.unsafe_offset(2 * k), workspace.unsafe_offset(3 * k), k)
    var text = TokenRange(0, allowed.text_start, allowed.text_stop, top_text, EMPTY, LOWEST)
    var times = TokenRange(2, allowed.times_start, allowed.times_stop, top_times, EMPTY, LOWEST)
    rank_candidates(embedding, row, text, times, max_scale, workspace.unsafe_offset(4 * k))
    var both = text.logsumexp
    both.merge(times.logsumexp)
    var times_sum = times.logsumexp.sum * exp(times.logsumexp.max - both.max)
    var best_text = top_text.logits.unsafe_load(0)
    var is_time = hypothesis.with_timestamps and times_sum > exp(best_text - both.max)
    if is_time:
        both = times.logsumexp
    var logsumexp = both.max + log(both.sum)
    into.clear()
    if not is_time:
        for i in range(k):
            into.insert(top_text.tokens.unsafe_load(i), top_text.logits.unsafe_load(i) - logsumexp)
    for i in range(k):
        into.insert(top_times.tokens.unsafe_load(i), top_times.logits.unsafe_load(i) - logsumexp)


@always_inline
def rank_candidates[
    dtype: DType
](
    embedding: Embedding[dtype],
    row: RowLogits,
    mut text: TokenRange,
    mut times: TokenRange,
    max_scale: Float32,
    workspace: Floats,
):
    """Ranks the tokens of both ranges; only panels that may hold one of the top k are read.

    `workspace` is 3 * PANEL floats; for the other arguments see `select_top_k`.
    """
    var coarse = workspace
    var sums = workspace.unsafe_offset(PANEL)
    var unit_bound = embedding.error_bound(row.x)
    var error_bound = unit_bound * max_scale
    text.combine_partials(row, error_bound)
    times.combine_partials(row, error_bound)
    var n_panels = (embedding.n_vocab() + PANEL - 1) // PANEL
    for piece in range(row.n_pieces):
        if not (text.may_hold(row, piece, error_bound) or times.may_hold(row, piece, error_bound)):
            continue
        var first_panel = piece * n_panels // row.n_pieces
        for panel in range(first_panel, (piece + 1) * n_panels // row.n_pieces):
            var first = panel * PANEL
            var stop = min(first + PANEL, embedding.n_vocab())
            var is_candidate = False
            for token in range(first, stop):
                var logit = row.logits.unsafe_load(token)
                coarse.unsafe_store(token - first, logit)
                var highest = logit + unit_bound * embedding.scale(token)
                is_candidate |= text.holds(token) and highest >= text.threshold
                is_candidate |= times.holds(token) and highest >= times.threshold
            if is_candidate:
                embedding.add_low_bytes(row.logits, row.x, panel, sums)
                text.insert_panel(coarse, row, first, stop)
                times.insert_panel(coarse, row, first, stop)
