"""Flash attention: a block's rows attend to all keys of one head, a tile of keys at a time.

Scores and weights never leave the cache. Online softmax carries each row's highest score and the
sum of its weights along, and rescales its accumulator when there is a new highest score.
"""
from std.math import ceildiv, sqrt
from std.sys import size_of
from .math import LOG2_E, exp2, fast_max
from .matmul import gemm_tile, span_of
from .packed_kv import PackedKV
from .prefetch import prefetch_part
from .row_block import BLOCK, RowBlock, Scalars, Workspace
from .row_block import chunk_of, depth_of, is_tiled, pair_of, round_up, rows_of, stride_of
from .tile import F32, LOWEST, PANEL, WIDTH, Floats, Vector

comptime GROUP = 4 if WIDTH == 16 else 2
"""Rows whose weights are computed side by side: one alone waits for its own maximum."""
comptime KEY_TILE = chunk_of[F32]
"""Keys of a tile."""
comptime SCORE_STRIDE = stride_of[F32]
"""Floats from a row of scores to the next."""
comptime query_tile_of[dtype: DType] = rows_of[dtype] if is_tiled[dtype] else BLOCK
"""Rows that attend to a tile of keys together: their scores, or the keys, stay in the cache."""


@no_inline
def update_softmax[
    dtype: DType
](
    into: RowBlock[dtype],
    first_row: Int,
    scores: Floats,
    n_keys: Int,
    acc: Floats,
    n_columns: Int,
    row_max: Floats,
    row_sum: Floats,
):
    """Turns a tile of scores into weights of attention, and rescales what came before.

    Args:
        into: Filled with the weights of rows first_row to first_row + rows_of[dtype]; in float32 it
            may be `scores`.
        first_row: First row of the tile in `into`.
        scores: Scores in powers of two, [rows_of[dtype], SCORE_STRIDE].
        n_keys: Scores of a row that count; any number up to KEY_TILE.
        acc: Accumulators, [rows_of[dtype], n_columns].
        n_columns: Floats of an accumulator.
        row_max: Highest score of each row so far.
        row_sum: Sum of each row's weights so far.
    """
    var n_whole = round_up(n_keys, WIDTH)
    for first in range(0, rows_of[dtype], GROUP):
        var group = scores.unsafe_offset(first * SCORE_STRIDE)
        var lane_max = Array[Vector, GROUP](fill=Vector(LOWEST))
        comptime for i in range(GROUP):
            for j in range(n_keys, n_whole):
                group.unsafe_store(i * SCORE_STRIDE + j, LOWEST)
        for j in range(0, n_whole, WIDTH):
            comptime for i in range(GROUP):
                var score = group.unsafe_load[width=WIDTH](i * SCORE_STRIDE + j)
                lane_max[i] = fast_max(score, lane_max[i])
        var new_max = Array[Float32, GROUP](fill=0)
        comptime for i in range(GROUP):
            new_max[i] = fast_max(lane_max[i].reduce_max(), row_max.unsafe_load(first + i))
        var lane_sum = Array[Vector, GROUP](fill=Vector(0))
        for j in range(0, n_whole, WIDTH):
            comptime for i in range(GROUP):
                var score = group.unsafe_load[width=WIDTH](i * SCORE_STRIDE + j)
                var weights = exp2[dtype](score - new_max[i])
                lane_sum[i] += weights
                into.store[WIDTH](weights, first_row + first + i, j)
        comptime for i in range(GROUP):
            for j in range(n_whole, round_up(n_keys, depth_of[dtype])):
                into.store[1](Float32(0), first_row + first + i, j)
            var row = first + i
            rescale(
                acc.unsafe_offset(row * n_columns),
                n_columns,
                row_max.unsafe_offset(row),
                row_sum.unsafe_offset(row),
                new_max[i],
            )
            row_sum.unsafe_store(row, row_sum.unsafe_load(row) + lane_sum[i].reduce_add())


@always_inline
def rescale(acc: Floats, n_columns: Int, row_max: Floats, row_sum: Floats, new_max: Float32):
    """Brings a row's accumulator [n_columns] and sum to a new highest score, if it is higher."""
    var old_max = row_max.unsafe_load(0)
    if new_max > old_max:
        var correction = exp2[F32](old_max - new_max)
        row_max.unsafe_store(0, new_max)
        row_sum.unsafe_store(0, row_sum.unsafe_load(0) * correction)
        for j in range(0, n_columns, WIDTH):
            acc.unsafe_store(j, acc.unsafe_load[width=WIDTH](j) * correction)


@fieldwise_init
struct FlashAttention[dtype: DType](Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Workspace of a block's attention to the keys of one head."""

    var q: RowBlock[Self.dtype]
    var scores: Floats
    """[query tile, SCORE_STRIDE]."""
    var weights: RowBlock[Self.dtype]
    """In float32 the scores' own place."""
    var acc: Floats
    """[n_rows, n_columns], to be divided by row_sum."""
    var row_max: Floats
    var row_sum: Floats
    var zeros: Floats

    @staticmethod
    def n_bytes(n_block: Int, kv: PackedKV[Self.dtype]) -> Int:
        """Returns the bytes that `within` takes for n_block rows."""
        comptime query_tile = query_tile_of[Self.dtype]
        comptime Rows = RowBlock[Self.dtype]
        var n_factors = Rows.size(n_block, kv.head_dim) + Rows.size(query_tile, KEY_TILE)
        var n_floats = query_tile * SCORE_STRIDE + n_block * (2 + kv.n_columns()) + PANEL
        return n_factors * size_of[Self.dtype]() + 4 * n_floats

    @staticmethod
    def within(mut memory: Workspace, n_block: Int, kv: PackedKV[Self.dtype]) -> Self:
        """Takes all arrays for n_block rows from a workspace."""
        comptime query_tile = query_tile_of[Self.dtype]
        comptime Rows = RowBlock[Self.dtype]
        var q = memory.take[Self.dtype](Rows.size(n_block, kv.head_dim))
        var scores = memory.take[F32](query_tile * SCORE_STRIDE)
        var weights: Scalars[Self.dtype]
        comptime if Self.dtype == F32:
            weights = rebind[Scalars[Self.dtype]](scores)
        else:
            weights = memory.take[Self.dtype](Rows.size(query_tile, KEY_TILE))
        var flash = Self(
            q=Rows(q, n_block),
            scores=scores,
            weights=Rows(weights, query_tile),
            acc=memory.take[F32](n_block * kv.n_columns()),
            row_max=memory.take[F32](n_block),
            row_sum=memory.take[F32](n_block),
            zeros=memory.take[F32](PANEL),
        )
        for j in range(PANEL):
            flash.zeros.unsafe_store(j, Float32(0))
        return flash

    @always_inline
    def run(
        self,
        kv: PackedKV[Self.dtype],
        *,
        batch: Int,
        head: Int,
        q: Floats,
        n_rows: Int,
        into: RowBlock[Self.dtype],
    ):
        """Computes attention of one head.

        Args:
            kv: Keys and values.
            batch: Batch entry of the keys and values.
            head: Head.
            q: Queries of all heads, [n_rows, n_head * head_dim].
            n_rows: Queries.
            into: Filled in the head's columns.
        """
        var head_dim = kv.head_dim
        var scale = LOG2_E / sqrt(Float32(head_dim))
        var queries = q.unsafe_offset(head * head_dim)
        self.q.pack(
            queries,
            stride=kv.n_head * head_dim,
            n_rows=n_rows,
            n_columns=head_dim,
            scale=scale,
        )
        self.accumulate(kv, batch, head, n_rows)
        self.store_means(into, n_rows, head_dim, head)

    def accumulate(self, kv: PackedKV[Self.dtype], batch: Int, head: Int, n_rows: Int):
        """Goes over all keys and values, KEY_TILE at a time."""
        var n_columns = kv.n_columns()
        var keys = kv.keys_of(batch, head)
        var values = kv.values_of(batch, head)
        for i in range(round_up(n_rows, rows_of[Self.dtype])):
            self.row_max.unsafe_store(i, LOWEST)
            self.row_sum.unsafe_store(i, Float32(0))
            for j in range(0, n_columns, WIDTH):
                self.acc.unsafe_store(i * n_columns + j, Vector(0))
        for first in range(0, kv.n_ctx, KEY_TILE):
            var n_keys = min(KEY_TILE, kv.n_ctx - first)
            for row in range(0, n_rows, query_tile_of[Self.dtype]):
                var last = min(n_rows, row + query_tile_of[Self.dtype])
                self.compute_qk(kv, keys, first, n_keys, row, last)
                self.weigh(kv, keys, values, first, n_keys, row, last)
                self.accumulate_pv(kv, values, first, n_keys, row, last)

    @always_inline
    def compute_qk(
        self,
        kv: PackedKV[Self.dtype],
        keys: Scalars[Self.dtype],
        first: Int,
        n_keys: Int,
        start: Int,
        stop: Int,
    ):
        """Computes the scores of rows start to stop and of n_keys keys from `first` on."""
        for column in range(0, n_keys, span_of[Self.dtype]):
            var key = first + column
            var panel = key // PANEL * PANEL * kv.head_dim + key % PANEL
            for row in range(start, stop, rows_of[Self.dtype]):
                gemm_tile[Self.dtype](
                    self.scores.unsafe_offset((row - start) * SCORE_STRIDE + column),
                    SCORE_STRIDE,
                    self.zeros,
                    0,
                    self.q.at(row, 0),
                    self.q.n_capacity * stride_of[Self.dtype],
                    keys.unsafe_offset(panel),
                    PANEL,
                    kv.head_dim,
                )

    @always_inline
    def weigh(
        self,
        kv: PackedKV[Self.dtype],
        keys: Scalars[Self.dtype],
        values: Scalars[Self.dtype],
        first: Int,
        n_keys: Int,
        start: Int,
        stop: Int,
    ):
        """Turns the scores into weights; meanwhile the next keys and values are prefetched."""
        var n_columns = kv.n_columns()
        var after = first + KEY_TILE
        var n_after = min(KEY_TILE, max(0, kv.n_ctx - after))
        var n_tiles = ceildiv(stop - start, rows_of[Self.dtype])
        for i in range(n_tiles):
            var row = start + i * rows_of[Self.dtype]
            var next_keys = keys.unsafe_offset(after * kv.head_dim)
            var next_values = values.unsafe_offset(after * n_columns)
            prefetch_part(next_keys, n_after * kv.head_dim, i, n_tiles)
            prefetch_part(next_values, n_after * n_columns, i, n_tiles)
            update_softmax[Self.dtype](
                self.weights,
                row - start,
                self.scores.unsafe_offset((row - start) * SCORE_STRIDE),
                n_keys,
                self.acc.unsafe_offset(row * n_columns),
                n_columns,
                self.row_max.unsafe_offset(row),
                self.row_sum.unsafe_offset(row),
            )

    @always_inline
    def accumulate_pv(
        self,
        kv: PackedKV[Self.dtype],
        values: Scalars[Self.dtype],
        first: Int,
        n_keys: Int,
        start: Int,
        stop: Int,
    ):
        """Adds the values of n_keys keys from `first` on, by their weights."""
        var n_columns = kv.n_columns()
        for column in range(0, n_columns, span_of[Self.dtype]):
            for row in range(start, stop, rows_of[Self.dtype]):
                var into = self.acc.unsafe_offset(row * n_columns + column)
                gemm_tile[Self.dtype](
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

    def store_means(self, into: RowBlock[Self.dtype], n_rows: Int, head_dim: Int, head: Int):
        """Stores the accumulators over the sums of weights in a head's columns of a block."""
        var n_columns = round_up(head_dim, PANEL)
        for i in range(round_up(n_rows, rows_of[Self.dtype])):
            var share = 1 / self.row_sum.unsafe_load(i)
            var acc = self.acc.unsafe_offset(i * n_columns)
            var whole = head_dim if head_dim % WIDTH == 0 else 0
            for j in range(0, whole, WIDTH):
                var mean = acc.unsafe_load[width=WIDTH](j) * share
                into.store[WIDTH](mean, i, head * head_dim + j)
            for j in range(whole, head_dim):
                into.store[1](acc.unsafe_load(j) * share, i, head * head_dim + j)
