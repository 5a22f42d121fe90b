"""Attention of a block's rows to all keys of one head, a few keys at a time.

Scores and weights never leave the cache: the highest score and the total of the weights so far are
kept, and sums are brought to a new highest score when there is one.
"""
from std.math import ceildiv, sqrt
from std.sys import size_of
from .fetch import fetch_part
from .functions import LOG2_E, larger, power_of_two
from .kept import Kept
from .products import multiply, span_of
from .row_block import (
    BLOCK,
    Numbers,
    RowBlock,
    Scratch,
    chunk_of,
    depth_of,
    pair_of,
    round_up,
    rows_of,
    stride_of,
)
from .tile import F32, PANEL, WIDTH, Floats, Vector

comptime LOWEST = Float32(-3.4e38)
comptime GROUP = 4 if WIDTH == 16 else 2
"""Rows whose weights are computed side by side: one alone waits for its own maximum."""
comptime KEYS = chunk_of[F32]
"""Keys that attention takes at a time."""
comptime SCORES = stride_of[F32]
"""Floats from a row of scores to the next."""
comptime together_of[dtype: DType] = rows_of[dtype] if dtype == DType.bfloat16 else BLOCK
"""Rows that meet some keys together: where their scores, or the keys, stay in the cache."""


@no_inline
def weigh[
    dtype: DType
](
    into: RowBlock[dtype],
    first_row: Int,
    scores: Floats,
    n_keys: Int,
    sums: Floats,
    n_columns: Int,
    highest: Floats,
    totals: Floats,
):
    """Turns a tile's rows of scores, in powers of two, into weights of attention.

    The sums so far [rows, n_columns], their highest scores and the totals of their weights are
    brought to the new highest scores. n_keys may be any number; what is behind them counts nothing.
    In float32 `into` may be `scores`.
    """
    var n_whole = round_up(n_keys, WIDTH)
    for first in range(0, rows_of[dtype], GROUP):
        var group = scores.unsafe_offset(first * SCORES)
        var tops = Array[Vector, GROUP](fill=Vector(LOWEST))
        comptime for i in range(GROUP):
            for j in range(n_keys, n_whole):
                group.unsafe_store(i * SCORES + j, LOWEST)
        for j in range(0, n_whole, WIDTH):
            comptime for i in range(GROUP):
                tops[i] = larger(group.unsafe_load[width=WIDTH](i * SCORES + j), tops[i])
        var top = Array[Float32, GROUP](fill=0)
        comptime for i in range(GROUP):
            top[i] = larger(tops[i].reduce_max(), highest.unsafe_load(first + i))
        var total = Array[Vector, GROUP](fill=Vector(0))
        for j in range(0, n_whole, WIDTH):
            comptime for i in range(GROUP):
                var score = group.unsafe_load[width=WIDTH](i * SCORES + j)
                var weights = power_of_two[dtype](score - top[i])
                total[i] += weights
                into.put[WIDTH](weights, first_row + first + i, j)
        comptime for i in range(GROUP):
            for j in range(n_whole, round_up(n_keys, depth_of[dtype])):
                into.put[1](Float32(0), first_row + first + i, j)
            var row = first + i
            var before = highest.unsafe_load(row)
            if top[i] > before:
                var factor = power_of_two[F32](before - top[i])
                highest.unsafe_store(row, top[i])
                totals.unsafe_store(row, totals.unsafe_load(row) * factor)
                for j in range(0, n_columns, WIDTH):
                    var at = sums.unsafe_offset(row * n_columns + j)
                    at.unsafe_store(0, at.unsafe_load[width=WIDTH](0) * factor)
            totals.unsafe_store(row, totals.unsafe_load(row) + total[i].reduce_add())


@fieldwise_init
struct HeadRows[dtype: DType](Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """What attention of a block's rows keeps while it goes over the keys of one head."""

    var q: RowBlock[Self.dtype]
    var scores: Floats
    var weights: RowBlock[Self.dtype]
    """In float32 the scores' own place."""
    var sums: Floats
    """[n_rows, n_columns], to be divided by the totals."""
    var tops: Floats
    var totals: Floats
    var zeros: Floats

    @staticmethod
    def n_bytes(n_block: Int, kept: Kept[Self.dtype]) -> Int:
        """What `within` takes of a task's memory."""
        comptime n_together = together_of[Self.dtype]
        comptime Block = RowBlock[Self.dtype]
        var n_factors = Block.size(n_block, kept.n_channels) + Block.size(n_together, KEYS)
        var n_floats = n_together * SCORES + n_block * (2 + kept.n_columns()) + PANEL
        return n_factors * size_of[Self.dtype]() + 4 * n_floats

    @staticmethod
    def within(mut scratch: Scratch, n_block: Int, kept: Kept[Self.dtype]) -> Self:
        """Room for n_block rows."""
        comptime n_together = together_of[Self.dtype]
        comptime Block = RowBlock[Self.dtype]
        var q = scratch.take[Self.dtype](Block.size(n_block, kept.n_channels))
        var scores = scratch.take[F32](n_together * SCORES)
        var weights: Numbers[Self.dtype]
        comptime if Self.dtype == F32:
            weights = rebind[Numbers[Self.dtype]](scores)
        else:
            weights = scratch.take[Self.dtype](Block.size(n_together, KEYS))
        var head_rows = Self(
            Block(q, n_block),
            scores,
            Block(weights, n_together),
            scratch.take[F32](n_block * kept.n_columns()),
            scratch.take[F32](n_block),
            scratch.take[F32](n_block),
            scratch.take[F32](PANEL),
        )
        for j in range(PANEL):
            head_rows.zeros.unsafe_store(j, Float32(0))
        return head_rows

    @always_inline
    def run(
        self, kept: Kept[Self.dtype], batch: Int, head: Int, q: Floats, n_rows: Int, into: RowBlock[Self.dtype]
    ):
        """One head of n_rows queries, which lie as [n_rows, n_head * n_channels] from q on."""
        var n_channels = kept.n_channels
        var scale = LOG2_E / sqrt(Float32(n_channels))
        var queries = q.unsafe_offset(head * n_channels)
        self.q.pack(queries, kept.n_head * n_channels, n_rows, n_channels, scale)
        self.attend(kept, batch, head, n_rows)
        self.put_means(into, n_rows, n_channels, head)

    def attend(self, kept: Kept[Self.dtype], batch: Int, head: Int, n_rows: Int):
        """Goes over all keys, KEYS at a time."""
        var n_columns = kept.n_columns()
        var keys = kept.keys_of(batch, head)
        var values = kept.values_of(batch, head)
        for i in range(round_up(n_rows, rows_of[Self.dtype])):
            self.tops.unsafe_store(i, LOWEST)
            self.totals.unsafe_store(i, Float32(0))
            for j in range(0, n_columns, WIDTH):
                self.sums.unsafe_store(i * n_columns + j, Vector(0))
        for first in range(0, kept.n_ctx, KEYS):
            var n_keys = min(KEYS, kept.n_ctx - first)
            for row in range(0, n_rows, together_of[Self.dtype]):
                var last = min(n_rows, row + together_of[Self.dtype])
                self.meet(kept, keys, values, first, n_keys, row, last)

    @always_inline
    def meet(
        self,
        kept: Kept[Self.dtype],
        keys: Numbers[Self.dtype],
        values: Numbers[Self.dtype],
        first: Int,
        n_keys: Int,
        start: Int,
        stop: Int,
    ):
        """Rows start to stop and n_keys keys, those from number first on."""
        var n_columns = kept.n_columns()
        for column in range(0, n_keys, span_of[Self.dtype]):
            var key = first + column
            var panel = key // PANEL * PANEL * kept.n_channels + key % PANEL
            for row in range(start, stop, rows_of[Self.dtype]):
                multiply[Self.dtype](
                    self.scores.unsafe_offset((row - start) * SCORES + column),
                    SCORES,
                    self.zeros,
                    0,
                    self.q.at(row, 0),
                    self.q.n_capacity * stride_of[Self.dtype],
                    keys.unsafe_offset(panel),
                    PANEL,
                    kept.n_channels,
                )
        var after = first + KEYS
        var n_after = min(KEYS, max(0, kept.n_ctx - after))
        var n_tiles = ceildiv(stop - start, rows_of[Self.dtype])
        for i in range(n_tiles):
            var row = start + i * rows_of[Self.dtype]
            # What comes next is asked for while the processor computes exponentials.
            var next_keys = keys.unsafe_offset(after * kept.n_channels)
            var next_values = values.unsafe_offset(after * n_columns)
            fetch_part(next_keys, n_after * kept.n_channels, i, n_tiles)
            fetch_part(next_values, n_after * n_columns, i, n_tiles)
            weigh[Self.dtype](
                self.weights,
                row - start,
                self.scores.unsafe_offset((row - start) * SCORES),
                n_keys,
                self.sums.unsafe_offset(row * n_columns),
                n_columns,
                self.tops.unsafe_offset(row),
                self.totals.unsafe_offset(row),
            )
        for column in range(0, n_columns, span_of[Self.dtype]):
            for row in range(start, stop, rows_of[Self.dtype]):
                var into = self.sums.unsafe_offset(row * n_columns + column)
                multiply[Self.dtype](
                    into,
                    n_columns,
                    into,
                    n_columns,
                    self.weights.at(row - start, 0),
                    self.weights.n_capacity * stride_of[Self.dtype],
                    values.unsafe_offset(first * n_columns + pair_of[Self.dtype] * column),
                    n_columns,
                    round_up(n_keys, depth_of[Self.dtype]),
                )

    def put_means(self, into: RowBlock[Self.dtype], n_rows: Int, n_channels: Int, head: Int):
        """Writes a head's means of values to its columns of a block."""
        var n_columns = round_up(n_channels, PANEL)
        for i in range(round_up(n_rows, rows_of[Self.dtype])):
            var share = 1 / self.totals.unsafe_load(i)
            var sums = self.sums.unsafe_offset(i * n_columns)
            var whole = n_channels if n_channels % WIDTH == 0 else 0
            for j in range(0, whole, WIDTH):
                var mean = sums.unsafe_load[width=WIDTH](j) * share
                into.put[WIDTH](mean, i, head * n_channels + j)
            for j in range(whole, n_channels):
                into.put[1](sums.unsafe_load(j) * share, i, head * n_channels + j)
