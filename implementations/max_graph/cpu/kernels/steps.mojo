"""Steps of the decoder: one new token for each hypothesis, from its embedding to the logits.

A whole step, or many, is one operation, so that threads are started once and meet between its parts
without the system's help; see team.mojo. Long prompts go
the way of prompt.mojo. The weights of the blocks come through the table of note_block.mojo.
"""
from std.math import ceildiv
from .choose import Lines, Mask
from .dense import Dense
from .embedding import Embedding
from .kept import Kept
from .keys_values import KeysValues
from .likeliest import N_FOUND, Ranking, Row, rank_likeliest
from .note_block import ATTN_LN, CROSS_LN, MLP_LN, N_ADDRESSES, Addresses, Block
from .note_block import AUDIO_KEYS, AUDIO_VALUES, KEYS, VALUES
from .note_block import CROSS_OUT, CROSS_QUERY, NARROW, OUT, QUERY_KEY_VALUE, WIDEN
from .rows import normalise_rows
from .step_attention import AudioAttention, TextAttention
from .step_room import Scratch
from .team import Integers, Member
from .tile import F32, PANEL, Floats

@fieldwise_init
struct Steps[w_type: DType, kv_type: DType, e_type: DType](
    Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """The decoder for n_rows hypotheses."""

    var blocks: Addresses
    var slots: Integers
    """[n_rows, n_panels]: where in the caches each row has its panels of positions."""
    var embedding: Embedding[Self.e_type]
    var positional: Floats
    var ln: Floats
    """Weight, then bias."""
    var ln_bias: Floats
    var n_layer: Int
    var n_head: Int
    var n_state: Int
    var n_text_ctx: Int
    var n_audio_ctx: Int
    var n_rows: Int
    var is_prompt: Bool
    """Whether rows are one hypothesis's tokens in turn, not the next token of several."""

    @always_inline
    def n_steps_of_team(self) -> Int:
        """At most so many times members meet in a step of the decoder."""
        return 8 * self.n_layer + 4

    @always_inline
    def n_shared(self) -> Int:
        """Floats of a team's scratch memory."""
        return Scratch.n_shared(self.n_rows, self.n_state)

    @always_inline
    def n_own(self) -> Int:
        """Floats of a member's scratch memory."""
        return Scratch.n_own(self.n_rows, self.n_state, self.n_padded())

    @always_inline
    def n_padded(self) -> Int:
        return ceildiv(max(self.n_text_ctx, self.n_audio_ctx), PANEL) * PANEL

    @always_inline
    def scratch(self, shared: Floats, own: Floats) -> Scratch:
        return Scratch.within(shared, own, self.n_rows, self.n_state)

    @always_inline
    def block(self, layer: Int) -> Block:
        return Block(self.blocks.unsafe_offset(layer * N_ADDRESSES))

    @always_inline
    def dense(
        self, block: Block, field: Int, n_in: Int, n_out: Int, gelu: Bool, residual: Bool
    ) -> Dense[Self.w_type]:
        return Dense[Self.w_type](
            block.at[Self.w_type](field),
            block.at[F32](field + 1),
            block.at[F32](field + 2),
            True,
            gelu,
            residual,
            n_in,
            n_out,
        )

    @always_inline
    def n_judged(self, n_threads: Int) -> Int:
        """Floats in which logits are judged: their own, and what pieces of them weigh."""
        var n_found = self.embedding.first.n_pieces(n_threads) * N_FOUND
        return self.n_rows * (self.embedding.n_vocab() + n_found)

    @always_inline
    def lines(self, state: Integers, rules: Integers, mask: Mask, room: Floats) -> Lines:
        """The rows as lines of text, with room of n_judged floats."""
        var found = room.unsafe_offset(self.n_rows * self.embedding.n_vocab())
        return Lines(state, rules, mask, room, found, self.embedding.largest_scale())

    def feed(
        self,
        mut member: Member,
        at: Scratch,
        tokens: Integers,
        stride: Int,
        origins: Integers,
        n_past: Int,
    ):
        """All blocks over each row's token; tokens are `stride` integers apart."""
        self.settle(member, origins, n_past)
        while member.claims(1):
            for row in range(self.n_rows):
                self.embed(at.x, row, Int(tokens.unsafe_load(row * stride)), n_past)
        self.layers(member, at, n_past)

    def settle(self, mut member: Member, origins: Integers, n_past: Int):
        """Gives each row a panel of its own to append to, where it shared another's."""
        var is_moved = False
        for row in range(self.n_rows):
            is_moved = is_moved or origins.unsafe_load(row) != self.slot(row, n_past)
        if not is_moved:
            return
        while member.claims(self.n_layer):
            var cache = self.cache(self.block(member.piece))
            for row in range(self.n_rows):
                var origin = origins.unsafe_load(row)
                if origin != self.slot(row, n_past):
                    cache.copy_panel(Int(self.slot(row, n_past)), Int(origin), n_past // PANEL)

    @always_inline
    def slot(self, row: Int, position: Int) -> Int32:
        """The slot of the caches in which a row has a position's panel."""
        return self.slots.unsafe_load(row * ceildiv(self.n_text_ctx, PANEL) + position // PANEL)

    @always_inline
    def cache(self, block: Block) -> KeysValues:
        return KeysValues(
            block.at[F32](KEYS),
            block.at[F32](VALUES),
            self.n_head,
            self.n_state // self.n_head,
            self.n_text_ctx,
        )

    @always_inline
    def audio(self, block: Block) -> Kept[Self.kv_type]:
        """The window's keys and values in a block."""
        return Kept[Self.kv_type](
            block.at[Self.kv_type](AUDIO_KEYS),
            block.at[Self.kv_type](AUDIO_VALUES),
            self.n_head,
            self.n_state // self.n_head,
            self.n_audio_ctx,
        )

    @always_inline
    def embed(self, into: Floats, row: Int, token: Int, n_past: Int):
        """Writes a row: its token's embedding and its position's."""
        var position = self.positional.unsafe_offset(n_past * self.n_state)
        self.embedding.put(into.unsafe_offset(row * self.n_state), token, position)

    def layers(self, mut member: Member, at: Scratch, n_past: Int):
        """All blocks over at.x."""
        var n = self.n_state
        for layer in range(self.n_layer):
            var block = self.block(layer)
            self.norm(at, block, ATTN_LN)
            self.share(
                member,
                at,
                at.wide,
                at.normed,
                self.dense(block, QUERY_KEY_VALUE, n, 3 * n, False, False),
            )
            self.attend_text(member, at, block, n_past)
            self.share(member, at, at.x, at.attended, self.dense(block, OUT, n, n, False, True))
            self.norm(at, block, CROSS_LN)
            self.share(
                member, at, at.wide, at.normed, self.dense(block, CROSS_QUERY, n, n, False, False)
            )
            var audio = AudioAttention[Self.kv_type](
                at.attended,
                at.wide,
                self.audio(block),
                self.n_rows,
                at.scores,
                at.sums,
            )
            while member.claims(self.n_head):
                audio.run(member.piece)
            self.share(
                member, at, at.x, at.attended, self.dense(block, CROSS_OUT, n, n, False, True)
            )
            self.norm(at, block, MLP_LN)
            self.share(
                member, at, at.wide, at.normed, self.dense(block, WIDEN, n, 4 * n, True, False)
            )
            self.share(member, at, at.x, at.wide, self.dense(block, NARROW, 4 * n, n, False, True))

    @always_inline
    def attend_text(self, mut member: Member, at: Scratch, block: Block, n_past: Int):
        """Attention to the text; of a prompt, each row's to the rows before it."""
        var cache = self.cache(block)
        var n_together = self.n_rows if self.is_prompt else 1
        while member.claims(self.n_rows * self.n_head // n_together):
            for i in range(n_together):
                var text = TextAttention(
                    at.attended,
                    at.wide,
                    cache,
                    self.slots,
                    n_past + (i if self.is_prompt else 0),
                    at.scores,
                    at.sums,
                )
                text.run(member.piece // self.n_head + i, member.piece % self.n_head)

    @always_inline
    def norm(self, at: Scratch, block: Block, field: Int):
        """Every member does this for itself, which is quicker than to meet once more."""
        var weight = block.at[F32](field)
        var bias = block.at[F32](field + 1)
        normalise_rows(at.normed, at.x, weight, bias, 0, self.n_rows, self.n_state)

    @no_inline
    def share(
        self, mut member: Member, at: Scratch, into: Floats, x: Floats, dense: Dense[Self.w_type]
    ):
        """A dense layer, its panels shared among members."""
        var n_pieces = dense.n_pieces(member.n_threads)
        while member.claims(n_pieces):
            var first = dense.first_panel(member.piece, n_pieces)
            var last = dense.first_panel(member.piece + 1, n_pieces)
            dense.rows(into, x, self.n_rows, first, last, at.sums)

    @always_inline
    def norm_last(self, at: Scratch):
        """Layer norm of all rows, before the logits."""
        normalise_rows(at.normed, at.x, self.ln, self.ln_bias, 0, self.n_rows, self.n_state)

    def logits(self, mut member: Member, at: Scratch, into: Floats):
        """Logits of all rows, [n_rows, n_vocab]."""
        self.norm_last(at)
        var n_pieces = self.embedding.first.n_pieces(member.n_threads)
        while member.claims(n_pieces):
            var first = self.embedding.first.first_panel(member.piece, n_pieces)
            var last = self.embedding.first.first_panel(member.piece + 1, n_pieces)
            self.embedding.rows(into, at.normed, self.n_rows, first, last, at.sums)

    def likeliest(
        self, mut member: Member, at: Scratch, lines: Lines, choice: Floats, n_best: Int
    ):
        """Each row's n_best likeliest tokens and their log-probabilities, [n_rows, 2, n_best].

        Logits are judged while they are in the cache; see likeliest.mojo for what follows.
        """
        self.norm_last(at)
        var n_vocab = self.embedding.n_vocab()
        var n_pieces = self.embedding.first.n_pieces(member.n_threads)
        while member.claims(n_pieces):
            var first = self.embedding.first.first_panel(member.piece, n_pieces)
            var last = self.embedding.first.first_panel(member.piece + 1, n_pieces)
            var found = lines.found.unsafe_offset(member.piece * self.n_rows * N_FOUND)
            self.embedding.first.rows(lines.logits, at.normed, self.n_rows, first, last, at.sums)
            for row in range(self.n_rows):
                lines.hypothesis(row).allowed(n_vocab).scan(
                    found.unsafe_offset(row * N_FOUND),
                    lines.logits.unsafe_offset(row * n_vocab),
                    lines.mask,
                    first * PANEL,
                    min(last * PANEL, n_vocab),
                )
        while member.claims(self.n_rows):
            var row = member.piece
            var tokens = choice.unsafe_offset(2 * row * n_best)
            rank_likeliest(
                self.embedding,
                Row(
                    lines.logits.unsafe_offset(row * n_vocab),
                    at.normed.unsafe_offset(row * self.n_state),
                    lines.found.unsafe_offset(row * N_FOUND),
                    self.n_rows * N_FOUND,
                    n_pieces,
                ),
                lines.hypothesis(row),
                lines.largest_scale,
                Ranking(tokens, tokens.unsafe_offset(n_best), n_best),
                at.scores,
            )
