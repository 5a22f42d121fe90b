"""Steps of the decoder: one new token for each hypothesis, from its embedding to the logits.

A whole step, or many, is one operation, so that threads are started once and meet between its parts
without the system's help; see team.mojo. Prompts take the layer-by-layer operations instead. The
weights of the blocks come through a table of addresses, which `whisper_note_block` fills within the
same run of the graph.
"""
from std.math import ceildiv, sqrt
from std.memory import Pointer
from std.sys.info import size_of
from .attention import softmax
from .choose import N_FOUND, Hypothesis, Mask
from .few_rows import few_rows
from .keys_values import KeysValues
from .linear import gelu
from .rows import normalise_rows
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

comptime PIECE_BYTES = 65536
"""Bytes of weights that are worth being claimed on their own."""


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
struct Dense[w_type: DType](Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """A matrix in panels, with what is to be done to its products."""

    var panels: Pointer[Scalar[Self.w_type], MutUntrackedOrigin]
    var scales: Floats
    var bias: Floats
    var has_bias: Bool
    var has_gelu: Bool
    var has_residual: Bool
    """Whether products are added to what is there."""
    var n_in: Int
    var n_out: Int

    @always_inline
    def n_pieces(self, n_threads: Int) -> Int:
        var n_panels = ceildiv(self.n_out, PANEL)
        var n_bytes = n_panels * PANEL * self.n_in * size_of[Scalar[Self.w_type]]()
        return min(n_panels, max(2 * n_threads, n_bytes // PIECE_BYTES))

    @always_inline
    def first_panel(self, piece: Int, n_pieces: Int) -> Int:
        return piece * ceildiv(self.n_out, PANEL) // n_pieces

    @no_inline
    def rows(self, into: Floats, x: Floats, n_rows: Int, first: Int, last: Int, sums: Floats):
        """Panels first to last of all rows; `sums` has room for n_rows * SPAN."""
        for column in range(first * PANEL, min(last * PANEL, self.n_out), SPAN):
            var panel = column // PANEL * PANEL
            var b = self.panels.unsafe_offset(panel * self.n_in + column % PANEL)
            few_rows[Self.w_type](n_rows, sums, SPAN, x, self.n_in, b, PANEL, self.n_in)
            for row in range(n_rows):
                for i in range(0, SPAN, WIDTH):
                    var at = row * self.n_out + column + i
                    var sum = sums.unsafe_offset(row * SPAN + i)
                    if column + i + WIDTH <= self.n_out:
                        self.finish[WIDTH](into.unsafe_offset(at), sum, column + i)
                    else:
                        for j in range(self.n_out - column - i):
                            self.finish[1](
                                into.unsafe_offset(at + j), sum.unsafe_offset(j), column + i + j
                            )

    @always_inline
    def finish[width: Int](self, into: Floats, sums: Floats, column: Int):
        var y = sums.unsafe_load[width=width](0)
        comptime if Self.w_type.is_integral():
            y *= self.scales.unsafe_load[width=width](column)
        if self.has_bias:
            y += self.bias.unsafe_load[width=width](column)
        if self.has_gelu:
            y = gelu(y)
        if self.has_residual:
            y += into.unsafe_load[width=width](0)
        into.unsafe_store(0, y)


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
    """[n_rows, SPAN]."""
    var scores: Floats
    """[n_rows, the longer of both contexts in whole panels]."""


@fieldwise_init
struct Steps[w_type: DType, kv_type: DType](
    Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """The decoder for n_rows hypotheses."""

    var blocks: Addresses
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
        return self.n_rows * (self.n_state + SPAN + self.n_padded())

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
            sums.unsafe_offset(self.n_rows * SPAN),
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

    def reorder(self, mut member: Member, sources: Integers, n_past: Int):
        """Makes each row's cache what that of sources[row] was."""
        var is_moved = False
        for row in range(self.n_rows):
            is_moved = is_moved or Int(sources.unsafe_load(row)) != row
        if not is_moved:
            return
        while member.claims(self.n_layer):
            var rows = List[Int]()
            for row in range(self.n_rows):
                rows.append(Int(sources.unsafe_load(row)))
            self.cache(self.block(member.piece)).reorder(rows, n_past)

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
            while member.claims(self.n_rows * self.n_head):
                self.attend_text(
                    at, block, member.piece // self.n_head, member.piece % self.n_head, n_past
                )
            self.share(member, at, at.x, at.attended, self.dense(block, OUT, n, n, False, True))
            self.norm(at, block, CROSS_LN)
            self.share(
                member, at, at.wide, at.normed, self.dense(block, CROSS_QUERY, n, n, False, False)
            )
            while member.claims(self.n_head):
                self.attend_audio(at, block, member.piece)
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

    @no_inline
    def attend_text(self, at: Scratch, block: Block, row: Int, head: Int, n_past: Int):
        """Appends the row's new key and value of a head to its cache, then attends to them all."""
        var cache = self.cache(block)
        var n_channels = cache.n_channels
        var keys = cache.keys_of(row, head)
        var values = cache.values_of(row, head)
        var q = at.wide.unsafe_offset(row * 3 * self.n_state + head * n_channels)
        var new_key = q.unsafe_offset(self.n_state)
        var new_value = q.unsafe_offset(2 * self.n_state)
        var key = keys.unsafe_offset(n_past // PANEL * PANEL * n_channels + n_past % PANEL)
        var value = values.unsafe_offset(n_past * cache.n_columns())
        for c in range(n_channels):
            key.unsafe_store(c * PANEL, new_key.unsafe_load(c))
            value.unsafe_store(c, new_value.unsafe_load(c))
        var into = at.attended.unsafe_offset(row * self.n_state + head * n_channels)
        self.attend[F32](at, into, q, 0, 1, keys, values, n_past + 1)

    @no_inline
    def attend_audio(self, at: Scratch, block: Block, head: Int):
        """All rows of a head, which share the keys and values of the window."""
        var n_channels = self.n_state // self.n_head
        var n_padded = ceildiv(self.n_audio_ctx, PANEL) * PANEL
        var n_columns = ceildiv(n_channels, PANEL) * PANEL
        self.attend[Self.kv_type](
            at,
            at.attended.unsafe_offset(head * n_channels),
            at.wide.unsafe_offset(head * n_channels),
            self.n_state,
            self.n_rows,
            block.at[Self.kv_type](AUDIO_KEYS).unsafe_offset(head * n_padded * n_channels),
            block.at[Self.kv_type](AUDIO_VALUES).unsafe_offset(head * self.n_audio_ctx * n_columns),
            self.n_audio_ctx,
        )

    @always_inline
    def attend[
        type: DType
    ](
        self,
        at: Scratch,
        into: Floats,
        q: Floats,
        q_stride: Int,
        n_rows: Int,
        keys: Pointer[Scalar[type], MutUntrackedOrigin],
        values: Pointer[Scalar[type], MutUntrackedOrigin],
        n_keys: Int,
    ):
        """Attention of some rows' queries of one head, in the layouts of keys_values.mojo."""
        var n_channels = self.n_state // self.n_head
        var n_columns = ceildiv(n_channels, PANEL) * PANEL
        var stride = ceildiv(n_keys, PANEL) * PANEL
        for first in range(0, n_keys, SPAN):
            var panel = keys.unsafe_offset(first // PANEL * PANEL * n_channels + first % PANEL)
            var scores = at.scores.unsafe_offset(first)
            few_rows[type](n_rows, scores, stride, q, q_stride, panel, PANEL, n_channels)
        for column in range(0, n_channels, SPAN):
            for row in range(n_rows if column == 0 else 0):
                var scores = at.scores.unsafe_offset(row * stride)
                var scale = 1 / sqrt(Float32(n_channels))
                at.normed.unsafe_store(row, softmax(scores, n_keys, n_keys, scale))
            var b = values.unsafe_offset(column)
            few_rows[type](n_rows, at.sums, SPAN, at.scores, stride, b, n_columns, n_keys)
            for row in range(n_rows):
                for j in range(min(SPAN, n_channels - column)):
                    var mean = at.sums.unsafe_load(row * SPAN + j) * at.normed.unsafe_load(row)
                    into.unsafe_store(row * self.n_state + column + j, mean)

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
