"""Attention of a decoder step's new queries: to the text so far, and to the audio.

Both work on one head at a time, in the layouts of kv_cache.mojo and packed_kv.mojo.
"""
from std.math import ceildiv, sqrt
from .causal_attention import softmax
from .kv_cache import KVCache
from .packed_kv import PackedKV
from .row_block import depth_of, pair_of, round_up
from .prefetch import prefetch_part
from .skinny_matmul import N_ACCUMULATORS, N_PARTS, skinny_matmul, skinny_tile
from .thread_team import Integers
from .tile import F32, PANEL, SPAN, WIDTH, Floats


@fieldwise_init
struct CachedSelfAttention(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Attention of a row to its cache, to which its new key and value are appended first."""

    var into: Floats
    """[n_rows, n_state]."""
    var qkv: Floats
    """[n_rows, 3 * n_state]."""
    var cache: KVCache
    var slots: Integers
    """[n_rows, n_panels]."""
    var n_past: Int
    var scores: Floats
    """Workspace, [n_past + 1 in whole panels]."""
    var sums: Floats
    """Workspace, [2, SPAN]."""

    @no_inline
    def run(self, row: Int, head: Int):
        """Computes one row of one head."""
        var cache = self.cache
        var head_dim = cache.head_dim
        var n_state = cache.n_head * head_dim
        var q = self.qkv.unsafe_offset(row * 3 * n_state + head * head_dim)
        var slots = self.slots.unsafe_offset(row * ceildiv(cache.n_ctx, PANEL))
        var own = Int(slots.unsafe_load(self.n_past // PANEL))
        cache.store(own, head, self.n_past, q.unsafe_offset(n_state), q.unsafe_offset(2 * n_state))
        var n_keys = self.n_past + 1
        for first in range(0, n_keys, SPAN):
            var keys = cache.keys_of(Int(slots.unsafe_load(first // PANEL)), head)
            var panel = keys.unsafe_offset(first // PANEL * PANEL * head_dim + first % PANEL)
            var to = self.scores.unsafe_offset(first)
            skinny_matmul[F32](1, to, 0, q, 0, panel, PANEL, head_dim)
        var share = softmax(self.scores, n_keys, n_keys, 1 / sqrt(Float32(head_dim)))
        var to = self.into.unsafe_offset(row * n_state + head * head_dim)
        for column in range(0, head_dim, SPAN):
            self.weighted_values(to, slots, head, column, n_keys, share)

    @always_inline
    def weighted_values(
        self, into: Floats, slots: Integers, head: Int, column: Int, n_keys: Int, share: Float32
    ):
        """Sums a span of the values by their weights, over runs of panels that share a slot.

        Args:
            into: Row of the head, [head_dim].
            slots: Slots of the row's panels.
            head: Head.
            column: First column of the span.
            n_keys: Positions.
            share: One over the sum of the weights.
        """
        var n_columns = self.cache.n_columns()
        var totals = self.sums.unsafe_offset(SPAN)
        for j in range(SPAN):
            totals.unsafe_store(j, Float32(0))
        var start = 0
        while start < n_keys:
            var slot = slots.unsafe_load(start // PANEL)
            var stop = start + PANEL
            while stop < n_keys and slots.unsafe_load(stop // PANEL) == slot:
                stop += PANEL
            stop = min(stop, n_keys)
            var values = self.cache.values_of(Int(slot), head)
            var b = values.unsafe_offset(start * n_columns + column)
            var weights = self.scores.unsafe_offset(start)
            skinny_matmul[F32](1, self.sums, 0, weights, 0, b, n_columns, stop - start)
            for j in range(0, SPAN, WIDTH):
                var sum = self.sums.unsafe_load[width=WIDTH](j)
                totals.unsafe_store(j, totals.unsafe_load[width=WIDTH](j) + sum)
            start = stop
        for j in range(min(SPAN, self.cache.head_dim - column)):
            into.unsafe_store(column + j, totals.unsafe_load(j) * share)


@fieldwise_init
struct CrossAttention[dtype: DType](
    Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """Attention of all rows to the keys and values of the window, which they share."""

    var into: Floats
    """[n_rows, n_state]."""
    var queries: Floats
    """[n_rows, n_state]."""
    var kv: PackedKV[Self.dtype]
    var n_rows: Int
    var scores: Floats
    """Workspace, [n_rows, n_keys in whole panels]."""
    var sums: Floats
    """Workspace, [n_rows + 1, SPAN]."""

    @always_inline
    def compute_scores(self, head: Int, stride: Int):
        """Fills the scores of a head, `stride` floats a row: queries times keys, not scaled.

        Meanwhile the head's values are on their way: one stream alone waits for the memory.
        """
        var head_dim = self.kv.head_dim
        var n_state = self.kv.n_head * head_dim
        var keys = self.kv.keys_of(0, head)
        var queries = self.queries.unsafe_offset(head * head_dim)
        var values = self.kv.values_of(0, head)
        var n_values = self.kv.n_ctx * self.kv.n_columns()
        var n_spans = ceildiv(self.kv.n_ctx, SPAN)
        for first in range(0, self.kv.n_ctx, SPAN):
            prefetch_part(values, n_values, first // SPAN, n_spans)
            var panel = first // PANEL * PANEL * head_dim
            var b = keys.unsafe_offset(panel + first % PANEL * pair_of[Self.dtype])
            var to = self.scores.unsafe_offset(first)
            skinny_matmul[Self.dtype](
                self.n_rows, to, stride, queries, n_state, b, PANEL, head_dim
            )

    @no_inline
    def run(self, head: Int):
        """Computes all rows of one head."""
        var n_keys = self.kv.n_ctx
        var head_dim = self.kv.head_dim
        var n_state = self.kv.n_head * head_dim
        var stride = round_up(n_keys, PANEL)
        var n_columns = self.kv.n_columns()
        self.compute_scores(head, stride)
        var scale = 1 / sqrt(Float32(head_dim))
        for row in range(self.n_rows):
            var scores = self.scores.unsafe_offset(row * stride)
            var share = softmax(scores, n_keys, stride, scale)
            for j in range(0, stride, WIDTH):
                scores.unsafe_store(j, scores.unsafe_load[width=WIDTH](j) * share)
        var depth = round_up(n_keys, depth_of[Self.dtype])
        comptime if Self.dtype == F32 and 4 * N_PARTS <= N_ACCUMULATORS:
            if self.n_rows == 1 and head_dim % (2 * SPAN) == 0:
                var values = rebind[Floats](self.kv.values_of(0, head))
                for column in range(0, head_dim, 2 * SPAN):
                    skinny_tile[1, F32, 4](
                        self.into.unsafe_offset(head * head_dim + column), 0, self.scores, 0,
                        values.unsafe_offset(column), n_columns, depth,
                    )
                return
        for column in range(0, head_dim, SPAN):
            var b = self.kv.values_of(0, head).unsafe_offset(column * pair_of[Self.dtype])
            skinny_matmul[Self.dtype](
                self.n_rows, self.sums, SPAN, self.scores, stride, b, n_columns, depth
            )
            for row in range(self.n_rows):
                var to = self.into.unsafe_offset(row * n_state + head * head_dim + column)
                for j in range(min(SPAN, head_dim - column)):
                    to.unsafe_store(j, self.sums.unsafe_load(row * SPAN + j))
