"""Steps of the decoder: one new token for each hypothesis, from its embedding to the logits.

A whole step, or many, is one operation, so that threads are started once and meet between its parts
without the system's help; see team.mojo. Prompts take the layer-by-layer operations instead. The
weights of the blocks come through a table of addresses, which `whisper_note_block` fills within the
same run of the graph.
"""
from std.math import ceildiv
from std.memory import Pointer
from .choose import N_FOUND, Hypothesis, Mask
from .dense import Dense
from .keys_values import KeysValues
from .rows import normalise_rows
from .step_attention import AudioAttention, TextAttention
from .team import Integers, Member
from .tile import F32, PANEL, SPAN, WIDTH, Floats, floats

comptime Addresses = Pointer[Int64, MutUntrackedOrigin]
comptime ATTN_LN = 0
comptime QUERY_KEY_VALUE = 2
comptime OUT = 5
comptime CROSS_LN = 8
comptime CROSS_QUERY = 10
comptime CROSS_OUT = 13
comptime MLP_LN = 16
comptime WIDEN = 18
comptime NARROW = 21
comptime KEYS = 24
comptime VALUES = 25
comptime AUDIO_KEYS = 26
comptime AUDIO_VALUES = 27
comptime N_ADDRESSES = 28
"""A block's line of the table: a norm is weight and bias, a dense layer panels, scales and bias."""

@fieldwise_init
struct Block(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """A block's line of the table."""

    var addresses: Addresses

    @always_inline
    def at[type: DType](self, field: Int) -> Pointer[Scalar[type], MutUntrackedOrigin]:
        return Pointer[Scalar[type], MutUntrackedOrigin](
            unsafe_from_address=Int(self.addresses.unsafe_load(field))
        )


@fieldwise_init
struct Scratch(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """What members share (x, wide, attended), and room that is a member's own (the rest)."""

    var x: Floats
    """[n_rows, n_state]."""
    var wide: Floats
    """[n_rows, 4 * n_state]: queries, keys and values, or what is between the MLP's layers."""
    var attended: Floats
    """[n_rows, n_state]."""
    var normed: Floats
    """[n_rows, n_state]."""
    var sums: Floats
    """[n_rows + 1, SPAN]."""
    var scores: Floats
    """[n_rows, the longer of both contexts in whole panels]."""


@fieldwise_init
struct Steps[w_type: DType, kv_type: DType](
    Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """The decoder for n_rows hypotheses."""

    var blocks: Addresses
    var slots: Integers
    """[n_rows, n_panels]: where in the caches each row has its panels of positions."""
    var embedding: Dense[Self.w_type]
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

    @always_inline
    def n_steps_of_team(self) -> Int:
        """At most so many times members meet in a step of the decoder."""
        return 8 * self.n_layer + 3

    @always_inline
    def n_shared(self) -> Int:
        """Floats of a team's scratch memory."""
        return 6 * self.n_rows * self.n_state

    @always_inline
    def n_own(self) -> Int:
        """Floats of a member's scratch memory."""
        return self.n_rows * (self.n_state + SPAN + self.n_padded()) + SPAN

    @always_inline
    def n_padded(self) -> Int:
        return ceildiv(max(self.n_text_ctx, self.n_audio_ctx), PANEL) * PANEL

    @always_inline
    def scratch(self, shared: Floats, own: Floats) -> Scratch:
        var n = self.n_rows * self.n_state
        var sums = own.unsafe_offset(n)
        return Scratch(
            shared,
            shared.unsafe_offset(n),
            shared.unsafe_offset(5 * n),
            own,
            sums,
            sums.unsafe_offset((self.n_rows + 1) * SPAN),
        )

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

    @no_inline
    def embed(self, into: Floats, row: Int, token: Int, n_past: Int):
        """Writes a row: its token's embedding and its position's."""
        var column = self.embedding.panels.unsafe_offset(
            token // PANEL * PANEL * self.n_state + token % PANEL
        )
        var scale = Float32(1)
        comptime if Self.w_type.is_integral():
            scale = self.embedding.scales.unsafe_load(token)
        for j in range(self.n_state):
            var x = column.unsafe_load(j * PANEL).cast[F32]() * scale
            var position = self.positional.unsafe_load(n_past * self.n_state + j)
            into.unsafe_store(row * self.n_state + j, x + position)

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
            var text = TextAttention(
                at.attended, at.wide, self.cache(block), self.slots, n_past, at.scores, at.sums
            )
            while member.claims(self.n_rows * self.n_head):
                text.run(member.piece // self.n_head, member.piece % self.n_head)
            self.share(member, at, at.x, at.attended, self.dense(block, OUT, n, n, False, True))
            self.norm(at, block, CROSS_LN)
            self.share(
                member, at, at.wide, at.normed, self.dense(block, CROSS_QUERY, n, n, False, False)
            )
            var audio = AudioAttention[Self.kv_type](
                at.attended,
                at.wide,
                block.at[Self.kv_type](AUDIO_KEYS),
                block.at[Self.kv_type](AUDIO_VALUES),
                self.n_rows,
                self.n_head,
                n // self.n_head,
                self.n_audio_ctx,
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

    def logits(self, mut member: Member, at: Scratch, into: Floats):
        """Logits of all rows, [n_rows, n_vocab]."""
        normalise_rows(at.normed, at.x, self.ln, self.ln_bias, 0, self.n_rows, self.n_state)
        self.share(member, at, into, at.normed, self.embedding)

    def chosen(
        self,
        mut member: Member,
        at: Scratch,
        logits: Floats,
        mask: Mask,
        found: Floats,
        mut hypothesis: Hypothesis,
    ):
        """The next token of a single row, judged while its logits are still in the cache."""
        normalise_rows(at.normed, at.x, self.ln, self.ln_bias, 0, 1, self.n_state)
        var dense = self.embedding
        var n_pieces = dense.n_pieces(member.n_threads)
        while member.claims(n_pieces):
            var first = dense.first_panel(member.piece, n_pieces)
            var last = dense.first_panel(member.piece + 1, n_pieces)
            dense.rows(logits, at.normed, 1, first, last, at.sums)
            var mine = found.unsafe_offset(member.piece * N_FOUND)
            hypothesis.scan(
                mine, logits, mask, first * PANEL, min(last * PANEL, self.embedding.n_out)
            )
        hypothesis.advance(found, n_pieces)
