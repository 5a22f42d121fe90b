"""Attention of a decoder step's new queries: to the text so far, and to the audio.

Both work on one head at a time, in the layouts of keys_values.mojo and kept.mojo.
"""
from std.math import ceildiv, sqrt
from .attention import softmax
from .few_rows import few_rows
from .kept import Kept
from .keys_values import KeysValues
from .row_block import depth_of, pair_of, round_up
from .team import Integers
from .tile import F32, PANEL, SPAN, WIDTH, Floats, Vector


@fieldwise_init
struct TextAttention(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Appends a row's new key and value to its cache, and attends to all that it has there."""

    var into: Floats
    """[n_rows, n_state]."""
    var qkv: Floats
    """[n_rows, 3 * n_state]."""
    var cache: KeysValues
    var slots: Integers
    """[n_rows, n_panels]."""
    var n_past: Int
    var scores: Floats
    """Room for n_past + 1, in whole panels."""
    var sums: Floats
    """Room for SPAN."""

    @no_inline
    def run(self, row: Int, head: Int):
        var cache = self.cache
        var n_channels = cache.n_channels
        var n_state = cache.n_head * n_channels
        var q = self.qkv.unsafe_offset(row * 3 * n_state + head * n_channels)
        var slots = self.slots.unsafe_offset(row * ceildiv(cache.n_ctx, PANEL))
        var own = Int(slots.unsafe_load(self.n_past // PANEL))
        cache.store(
            own, head, self.n_past, q.unsafe_offset(n_state), q.unsafe_offset(2 * n_state)
        )
        var n_keys = self.n_past + 1
        for first in range(0, n_keys, SPAN):
            var keys = cache.keys_of(Int(slots.unsafe_load(first // PANEL)), head)
            var panel = keys.unsafe_offset(first // PANEL * PANEL * n_channels + first % PANEL)
            var to = self.scores.unsafe_offset(first)
            few_rows[F32](1, to, 0, q, 0, panel, PANEL, n_channels)
        var scale = softmax(self.scores, n_keys, n_keys, 1 / sqrt(Float32(n_channels)))
        var to = self.into.unsafe_offset(row * n_state + head * n_channels)
        for column in range(0, n_channels, SPAN):
            self.means(to, slots, head, column, n_keys, scale)

    @always_inline
    def means(
        self, into: Floats, slots: Integers, head: Int, column: Int, n_keys: Int, scale: Float32
    ):
        """Weighted sums of a span of the values, over runs of panels that share a slot."""
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
            few_rows[F32](1, self.sums, 0, weights, 0, b, n_columns, stop - start)
            for j in range(0, SPAN, WIDTH):
                var sum = self.sums.unsafe_load[width=WIDTH](j)
                totals.unsafe_store(j, totals.unsafe_load[width=WIDTH](j) + sum)
            start = stop
        for j in range(min(SPAN, self.cache.n_channels - column)):
            into.unsafe_store(column + j, totals.unsafe_load(j) * scale)


@fieldwise_init
struct AudioAttention[type: DType](
    Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """All rows attend to the keys and values of the window, which they share."""

    var into: Floats
    """[n_rows, n_state]."""
    var queries: Floats
    """[n_rows, n_state]."""
    var kept: Kept[Self.type]
    var n_rows: Int
    var scores: Floats
    """Room for [n_rows, n_keys in whole panels]."""
    var sums: Floats
    """Room for [n_rows + 1, SPAN]."""

    @always_inline
    def products(self, head: Int, stride: Int):
        """Fills the scores, `stride` floats a row: queries times keys, not scaled."""
        var n_channels = self.kept.n_channels
        var n_state = self.kept.n_head * n_channels
        var keys = self.kept.keys_of(0, head)
        var queries = self.queries.unsafe_offset(head * n_channels)
        for first in range(0, self.kept.n_ctx, SPAN):
            var panel = first // PANEL * PANEL * n_channels
            var b = keys.unsafe_offset(panel + first % PANEL * pair_of[Self.type])
            var to = self.scores.unsafe_offset(first)
            few_rows[Self.type](self.n_rows, to, stride, queries, n_state, b, PANEL, n_channels)

    @no_inline
    def run(self, head: Int):
        var n_keys = self.kept.n_ctx
        var n_channels = self.kept.n_channels
        var n_state = self.kept.n_head * n_channels
        var stride = round_up(n_keys, PANEL)
        var n_columns = self.kept.n_columns()
        self.products(head, stride)
        var scale = 1 / sqrt(Float32(n_channels))
        for row in range(self.n_rows):
            var scores = self.scores.unsafe_offset(row * stride)
            var share = softmax(scores, n_keys, stride, scale)
            for j in range(0, stride, WIDTH):
                scores.unsafe_store(j, scores.unsafe_load[width=WIDTH](j) * share)
        var depth = round_up(n_keys, depth_of[Self.type])
        for column in range(0, n_channels, SPAN):
            var b = self.kept.values_of(0, head).unsafe_offset(column * pair_of[Self.type])
            few_rows[Self.type](
                self.n_rows, self.sums, SPAN, self.scores, stride, b, n_columns, depth
            )
            for row in range(self.n_rows):
                var to = self.into.unsafe_offset(row * n_state + head * n_channels + column)
                for j in range(min(SPAN, n_channels - column)):
                    to.unsafe_store(j, self.sums.unsafe_load(row * SPAN + j))
