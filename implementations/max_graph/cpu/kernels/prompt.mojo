"""A prompt's way through the decoder: all tokens at once, while each panel of weights passes by once.

It is the program of a team, as in steps.mojo, whose tables it reads. The prompt begins its
hypothesis: its keys and values are the first of the cache's slot 0.
"""
from std.math import ceildiv, sqrt
from .attention import CausalAttention
from .few_rows import MOST_ROWS
from .functions import gelu
from .kept import Kept
from .note_block import ATTN_LN, CROSS_LN, KEYS, MLP_LN, VALUES, Block
from .note_block import CROSS_OUT, CROSS_QUERY, NARROW, OUT, QUERY_KEY_VALUE, WIDEN
from .products import Weights, copy_rows, store_rows
from .prompt_room import Own, Shared, Sizes, Wanted
from .row_block import RowBlock, round_up, rows_of
from .rows import normalise_rows
from .step_attention import AudioAttention
from .step_room import Scratch
from .steps import Steps
from .team import Integers, Member
from .tile import F32, PANEL, ROWS, WIDTH, Floats


@fieldwise_init
struct Prompt[w_type: DType, dtype: DType, e_type: DType](
    Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """The decoder for steps.n_rows tokens; products and attention to the audio are in dtype."""

    var steps: Steps[Self.w_type, Self.dtype, Self.e_type]
    var scores: Floats
    """[n_scores, n_rows, n_audio_ctx]."""
    var heads: Integers
    """[n_scores, 2]: layer and head of each."""
    var n_scores: Int
    var wanted: Wanted
    var sizes: Sizes[Self.dtype]
    var n_threads: Int

    @always_inline
    def n_groups(self) -> Int:
        """Pieces of work that goes row by row."""
        return self.sizes.n_capacity() // rows_of[Self.dtype]

    @always_inline
    def n_counted(self) -> Int:
        """At most so many times members meet."""
        return 13 * self.steps.n_layer + 3

    def run(
        self,
        mut member: Member,
        at: Shared[Self.dtype],
        own: Own[Self.dtype],
        tokens: Integers,
    ):
        """From the tokens to the logits; a few rows as in steps.mojo, which meets less often."""
        var steps = self.steps
        while member.claims(steps.n_rows):
            var row = member.piece
            steps.embed(at.x, row, Int(tokens.unsafe_load(row)), row)
        if steps.n_rows <= MOST_ROWS and self.n_scores == 0:
            var few = Scratch(
                at.x, at.wide, at.attended, own.normed, own.sums, own.scores
            )
            steps.layers(member, few, 0)
        else:
            self.layers(member, at, own)
        var n = steps.n_state
        var wanted = self.wanted
        while member.claims(wanted.n_rows):
            var row = at.x.unsafe_offset(Int(wanted.rows.unsafe_load(member.piece)) * n)
            var normed = wanted.normed.unsafe_offset(member.piece * n)
            normalise_rows(normed, row, steps.ln, steps.ln_bias, 0, 1, n)
        var n_pieces = steps.embedding.first.n_pieces(member.n_threads)
        while member.claims(n_pieces):
            var first = steps.embedding.first.first_panel(member.piece, n_pieces)
            var last = steps.embedding.first.first_panel(member.piece + 1, n_pieces)
            steps.embedding.rows(
                wanted.logits, wanted.normed, wanted.n_rows, first, last, own.sums
            )

    def layers(self, mut member: Member, at: Shared[Self.dtype], own: Own[Self.dtype]):
        """All blocks over at.x."""
        var n = self.steps.n_state
        for layer in range(self.steps.n_layer):
            var block = self.steps.block(layer)
            self.norm(member, at, block, ATTN_LN)
            self.place(member, at, own, block, QUERY_KEY_VALUE, 3 * n)
            self.attend_text(member, at, own, block)
            self.add(member, at.x, at.factors, own, self.weights(block, OUT, n, n))
            self.norm(member, at, block, CROSS_LN)
            self.place(member, at, own, block, CROSS_QUERY, n)
            if self.n_scores > 0:
                self.score(member, at, own, layer)
            self.attend_audio(member, at, own, block)
            self.add(member, at.x, at.factors, own, self.weights(block, CROSS_OUT, n, n))
            self.norm(member, at, block, MLP_LN)
            self.widen(member, at, own, self.weights(block, WIDEN, n, 4 * n))
            self.add(member, at.x, at.hidden, own, self.weights(block, NARROW, 4 * n, n))

    @always_inline
    def weights(
        self, block: Block, field: Int, n_in: Int, n_out: Int
    ) -> Weights[Self.w_type, Self.dtype]:
        return Weights[Self.w_type, Self.dtype](
            block.at[Self.w_type](field),
            block.at[F32](field + 1),
            block.at[F32](field + 2),
            n_out,
            n_in,
            True,
            self.n_threads,
        )

    @always_inline
    def group(self, into: RowBlock[Self.dtype], group: Int) -> RowBlock[Self.dtype]:
        """The block from a group's first row on."""
        return RowBlock[Self.dtype](into.at(group * rows_of[Self.dtype], 0), into.n_capacity)

    @always_inline
    def n_in_group(self, group: Int) -> Int:
        comptime n = rows_of[Self.dtype]
        return min(n, self.steps.n_rows - group * n)

    @no_inline
    def norm(self, mut member: Member, at: Shared[Self.dtype], block: Block, field: Int):
        """Layer norm of x, as factors."""
        var n = self.steps.n_state
        while member.claims(self.n_groups()):
            var group = member.piece
            self.group(at.factors, group).normalise(
                at.x.unsafe_offset(group * rows_of[Self.dtype] * n),
                self.n_in_group(group),
                n,
                block.at[F32](field),
                block.at[F32](field + 1),
            )

    @no_inline
    def place(
        self,
        mut member: Member,
        at: Shared[Self.dtype],
        own: Own[Self.dtype],
        block: Block,
        field: Int,
        n_out: Int,
    ):
        """Queries to their place, keys and values, if there are such, to the cache."""
        var steps = self.steps
        var n = steps.n_state
        var weights = self.weights(block, field, n, n_out)
        var cache = Kept[F32](
            block.at[F32](KEYS),
            block.at[F32](VALUES),
            steps.n_head,
            n // steps.n_head,
            steps.n_text_ctx,
        )
        while member.claims(weights.n_panels()):
            var first = member.piece * PANEL
            weights.add(own.sums, at.factors, steps.n_rows, member.piece, 0, n, own.panel)
            var n_columns = min(PANEL, n_out - first)
            var n_own = min(n_columns, max(0, n - first))
            copy_rows(at.queries.unsafe_offset(first), n, own.sums, steps.n_rows, n_own)
            if n_own < n_columns:
                cache.store(
                    own.sums.unsafe_offset(n_own),
                    0,
                    0,
                    steps.n_rows,
                    first + n_own - n,
                    n_columns - n_own,
                    own.turned,
                )

    @no_inline
    def add(
        self,
        mut member: Member,
        x: Floats,
        factors: RowBlock[Self.dtype],
        own: Own[Self.dtype],
        weights: Weights[Self.w_type, Self.dtype],
    ):
        """Adds a dense layer's output to x."""
        var n = self.steps.n_state
        while member.claims(weights.n_panels()):
            var first = member.piece * PANEL
            weights.add(
                own.sums, factors, self.steps.n_rows, member.piece, 0, weights.depth, own.panel
            )
            var to = x.unsafe_offset(first)
            store_rows(to, to, n, own.sums, self.steps.n_rows, min(PANEL, n - first))

    @no_inline
    def widen(
        self,
        mut member: Member,
        at: Shared[Self.dtype],
        own: Own[Self.dtype],
        weights: Weights[Self.w_type, Self.dtype],
    ):
        """The MLP's first layer, GELU included."""
        while member.claims(weights.n_panels()):
            var p = member.piece
            weights.add(
                own.sums, at.factors, self.steps.n_rows, p, 0, weights.depth, own.panel
            )
            for row in range(self.sizes.n_capacity()):
                comptime for j in range(0, PANEL, WIDTH):
                    var wide = own.sums.unsafe_load[width=WIDTH](row * PANEL + j)
                    at.hidden.put[WIDTH](gelu[Self.dtype](wide), row, p * PANEL + j)

    @no_inline
    def attend_text(
        self, mut member: Member, at: Shared[Self.dtype], own: Own[Self.dtype], block: Block
    ):
        """Attention of each row to those before it, as factors."""
        var steps = self.steps
        var n_rows = steps.n_rows
        var n = steps.n_state
        var attention = CausalAttention(at.attended, at.queries, steps.cache(block))
        var n_parts = ceildiv(n_rows, ROWS)
        while member.claims(steps.n_head * n_parts):
            var first = member.piece % n_parts * ROWS
            attention.rows(member.piece // n_parts, first, min(ROWS, n_rows - first), own.scores)
        while member.claims(self.n_groups()):
            var source = at.attended.unsafe_offset(member.piece * rows_of[Self.dtype] * n)
            var n_own = self.n_in_group(member.piece)
            self.group(at.factors, member.piece).pack(source, n, n_own, n, 1)

    @no_inline
    def attend_audio(
        self, mut member: Member, at: Shared[Self.dtype], own: Own[Self.dtype], block: Block
    ):
        """Attention of all rows to the audio, as factors."""
        var kept = self.steps.audio(block)
        var n_together = self.sizes.n_together
        var n_parts = ceildiv(self.steps.n_rows, n_together)
        while member.claims(self.steps.n_head * n_parts):
            var start = member.piece % n_parts * n_together
            own.head_rows.run(
                kept,
                0,
                member.piece // n_parts,
                at.queries.unsafe_offset(start * self.steps.n_state),
                min(n_together, self.steps.n_rows - start),
                RowBlock[Self.dtype](at.factors.at(start, 0), at.factors.n_capacity),
            )

    @no_inline
    def score(
        self, mut member: Member, at: Shared[Self.dtype], own: Own[Self.dtype], layer: Int
    ):
        """Scores before softmax of the heads that are wanted of a layer."""
        var steps = self.steps
        var kept = steps.audio(steps.block(layer))
        var n_keys = steps.n_audio_ctx
        var stride = round_up(n_keys, PANEL)
        var scale = 1 / sqrt(Float32(kept.n_channels))
        while member.claims(self.n_scores):
            if Int(self.heads.unsafe_load(2 * member.piece)) != layer:
                continue
            var head = Int(self.heads.unsafe_load(2 * member.piece + 1))
            for start in range(0, steps.n_rows, MOST_ROWS):
                var n = min(MOST_ROWS, steps.n_rows - start)
                var queries = at.queries.unsafe_offset(start * steps.n_state)
                AudioAttention[Self.dtype](
                    at.attended, queries, kept, n, own.scores, own.sums
                ).products(head, stride)
                for row in range(n):
                    var line = (member.piece * steps.n_rows + start + row) * n_keys
                    for j in range(n_keys):
                        var score = own.scores.unsafe_load(row * stride + j) * scale
                        self.scores.unsafe_store(line + j, score)
