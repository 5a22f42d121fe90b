"""The encoder's attention in two operations: queries, keys and values; attention and its output.

Each works block by block, so that what lies between two products stays in the cache.
"""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from std.math import ceildiv, sqrt
from std.sys import size_of
from .functions import LOG2_E, larger, power_of_two
from .keys_values import KeysValues
from .row_block import (
    BLOCK,
    CHUNK,
    STRIDE,
    RowBlock,
    Scratch,
    Weights,
    copy_rows,
    multiply,
    round_up,
    store_rows,
    weights_of,
)
from .threads import allowed, n_workers
from .tile import F32, PANEL, ROWS, SPAN, WIDTH, Floats, Vector, floats

comptime LOWEST = Float32(-3.4e38)
comptime GROUP = ROWS // 3
"""Rows whose weights are computed side by side: one alone waits for its own maximum."""


@fieldwise_init
struct Heads[w_dtype: DType, dtype: DType](
    Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """Queries (if any), keys and values of rows that are normalised first (if so).

    The columns of the product are queries, keys, values, or keys and values only.
    """

    var q: Floats
    """[n_batch * n_ctx, n_state]."""
    var kv: KeysValues
    var x: Floats
    var norm_weight: Floats
    var norm_bias: Floats
    var weights: Weights[Self.w_dtype, Self.dtype]
    var n_batch: Int
    var n_ctx: Int
    var has_norm: Bool

    def rows(self, batch: Int, start: Int, n_rows: Int):
        """One block."""
        var n_in = self.weights.depth
        comptime Block = RowBlock[Self.dtype]
        var n_block = Block.size(BLOCK, n_in)
        var scratch = Scratch(
            (n_block + (n_in + 2) * PANEL) * size_of[Self.dtype]() + 4 * BLOCK * PANEL
        )
        var x = Block(scratch.take[Self.dtype](n_block), BLOCK)
        var room = scratch.take[Self.dtype]((n_in + 2) * PANEL)
        var sums = scratch.take[F32](BLOCK * PANEL)
        var source = self.x.unsafe_offset((batch * self.n_ctx + start) * n_in)
        if self.has_norm:
            x.normalise(source, n_rows, n_in, self.norm_weight, self.norm_bias)
        else:
            x.pack(source, n_in, n_rows, n_in, 1)
        for p in range(self.weights.n_panels()):
            self.weights.add(sums, x, n_rows, p, 0, n_in, room)
            self.store(sums, batch, start, n_rows, p * PANEL)
        _ = scratch^

    @no_inline
    def store(self, sums: Floats, batch: Int, start: Int, n_rows: Int, first: Int):
        """Puts a panel's columns, from number first on, where they belong."""
        var n_state = self.kv.n_head * self.kv.n_channels
        var n_queries = self.weights.n_out - 2 * n_state
        var n_columns = min(PANEL, self.weights.n_out - first)
        if first + n_columns <= n_queries:
            var to = self.q.unsafe_offset((batch * self.n_ctx + start) * n_state + first)
            return copy_rows(to, n_state, sums, n_rows, n_columns)
        for j in range(n_columns):
            var column = first + j - n_queries
            var source = sums.unsafe_offset(j)
            if column < 0:
                var to = self.q.unsafe_offset((batch * self.n_ctx + start) * n_state + first + j)
                for i in range(n_rows):
                    to.unsafe_store(i * n_state, source.unsafe_load(i * PANEL))
                continue
            var head = column % n_state // self.kv.n_channels
            var channel = column % self.kv.n_channels
            if column < n_state:
                self.store_key(source, self.kv.keys_of(batch, head), channel, start, n_rows)
                continue
            var stride = self.kv.n_columns()
            var to = self.kv.values_of(batch, head).unsafe_offset(start * stride + channel)
            if self.kv.n_channels % PANEL == 0:  # then the whole panel is of one head
                return copy_rows(to, stride, sums, n_rows, PANEL)
            for i in range(n_rows):
                to.unsafe_store(i * stride, source.unsafe_load(i * PANEL))

    @always_inline
    def store_key(self, source: Floats, keys: Floats, channel: Int, start: Int, n_rows: Int):
        for i in range(0, n_rows, PANEL):
            var to = keys.unsafe_offset((start + i) * self.kv.n_channels + channel * PANEL)
            for j in range(min(PANEL, n_rows - i)):
                to.unsafe_store(j, source.unsafe_load((i + j) * PANEL))

    @no_inline
    def run(self, n_threads: Int) raises:
        var n_blocks = ceildiv(self.n_ctx, BLOCK)
        var n_pieces = self.n_batch * n_blocks
        var n_tasks = n_workers(n_pieces, n_threads)

        def task(t: Int) {var self, var n_blocks, var n_pieces, var n_tasks}:
            for piece in range(t, n_pieces, n_tasks):
                var start = piece % n_blocks * BLOCK
                self.rows(piece // n_blocks, start, min(BLOCK, self.n_ctx - start))

        sync_parallelize(task, n_tasks)


@no_inline
def weigh(
    scores: Floats, n_keys: Int, sums: Floats, n_columns: Int, highest: Floats, totals: Floats
):
    """Turns ROWS rows of scores [ROWS, STRIDE], in powers of two, into weights of attention.

    The sums so far [ROWS, n_columns], their highest scores and the totals of their weights are
    brought to the new highest scores. n_keys may be any number; what is behind them counts nothing.
    """
    var n_whole = round_up(n_keys, WIDTH)
    for first in range(0, ROWS, GROUP):
        var group = scores.unsafe_offset(first * STRIDE)
        var tops = Array[Vector, GROUP](fill=Vector(LOWEST))
        comptime for i in range(GROUP):
            for j in range(n_keys, n_whole):
                group.unsafe_store(i * STRIDE + j, LOWEST)
        for j in range(0, n_whole, WIDTH):
            comptime for i in range(GROUP):
                tops[i] = larger[WIDTH](group.unsafe_load[width=WIDTH](i * STRIDE + j), tops[i])
        var top = Array[Float32, GROUP](fill=0)
        comptime for i in range(GROUP):
            top[i] = larger[1](tops[i].reduce_max(), highest.unsafe_load(first + i))
        var total = Array[Vector, GROUP](fill=Vector(0))
        for j in range(0, n_whole, WIDTH):
            comptime for i in range(GROUP):
                var score = group.unsafe_load[width=WIDTH](i * STRIDE + j)
                var weights = power_of_two[WIDTH](score - top[i])
                total[i] += weights
                group.unsafe_store(i * STRIDE + j, weights)
        comptime for i in range(GROUP):
            var row = first + i
            var before = highest.unsafe_load(row)
            if top[i] > before:
                var factor = power_of_two[1](before - top[i])
                highest.unsafe_store(row, top[i])
                totals.unsafe_store(row, totals.unsafe_load(row) * factor)
                for j in range(0, n_columns, WIDTH):
                    var at = sums.unsafe_offset(row * n_columns + j)
                    at.unsafe_store(0, at.unsafe_load[width=WIDTH](0) * factor)
            totals.unsafe_store(row, totals.unsafe_load(row) + total[i].reduce_add())


@fieldwise_init
struct AttendOut[w_dtype: DType, dtype: DType](
    Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """Computes out = x + weights * attention(q, keys, values) + bias."""

    var into: Floats
    var q: Floats
    var kv: KeysValues
    var x: Floats
    var weights: Weights[Self.w_dtype, Self.dtype]
    var n_batch: Int

    def attend(
        self,
        q: RowBlock[Self.dtype],
        scores: Floats,
        sums: Floats,
        tops: Floats,
        totals: Floats,
        zeros: Floats,
        batch: Int,
        head: Int,
        n_rows: Int,
    ):
        """Sums of values [n_rows, n_columns] of one head, to be divided by the totals."""
        var n_columns = self.kv.n_columns()
        var n_channels = self.kv.n_channels
        var keys = self.kv.keys_of(batch, head)
        var values = self.kv.values_of(batch, head)
        for j in range(SPAN):
            zeros.unsafe_store(j, Float32(0))
        for i in range(round_up(n_rows, ROWS)):
            tops.unsafe_store(i, LOWEST)
            totals.unsafe_store(i, Float32(0))
            for j in range(0, n_columns, WIDTH):
                sums.unsafe_store(i * n_columns + j, Vector(0))
        for first in range(0, self.kv.n_ctx, CHUNK):
            var n_keys = min(CHUNK, self.kv.n_ctx - first)
            for column in range(0, n_keys, SPAN):
                var key = first + column
                for row in range(0, n_rows, ROWS):
                    multiply[F32](
                        scores.unsafe_offset(row * STRIDE + column),
                        STRIDE,
                        zeros,
                        0,
                        rebind[Floats](q.at(row, 0)),
                        q.n_capacity * STRIDE,
                        keys.unsafe_offset(key // PANEL * PANEL * n_channels + key % PANEL),
                        PANEL,
                        n_channels,
                    )
            for row in range(0, n_rows, ROWS):
                weigh(
                    scores.unsafe_offset(row * STRIDE),
                    n_keys,
                    sums.unsafe_offset(row * n_columns),
                    n_columns,
                    tops.unsafe_offset(row),
                    totals.unsafe_offset(row),
                )
            for column in range(0, n_columns, SPAN):
                for row in range(0, n_rows, ROWS):
                    var into = sums.unsafe_offset(row * n_columns + column)
                    multiply[F32](
                        into,
                        n_columns,
                        into,
                        n_columns,
                        scores.unsafe_offset(row * STRIDE),
                        BLOCK * STRIDE,
                        values.unsafe_offset(first * n_columns + column),
                        n_columns,
                        n_keys,
                    )

    def rows(self, batch: Int, start: Int, n_rows: Int):
        """One block, all heads."""
        var n_state = self.weights.depth
        var n_channels = self.kv.n_channels
        var n_columns = self.kv.n_columns()
        comptime Block = RowBlock[Self.dtype]
        var n_q = Block.size(BLOCK, n_channels)
        var n_out = Block.size(BLOCK, n_state)
        var n_floats = BLOCK * STRIDE + BLOCK * (n_columns + PANEL + 2) + SPAN
        var scratch = Scratch(
            (n_q + n_out + (n_state + 2) * PANEL) * size_of[Self.dtype]() + 4 * n_floats
        )
        var q = Block(scratch.take[Self.dtype](n_q), BLOCK)
        var attended = Block(scratch.take[Self.dtype](n_out), BLOCK)
        var room = scratch.take[Self.dtype]((n_state + 2) * PANEL)
        var scores = scratch.take[F32](BLOCK * STRIDE)
        var sums = scratch.take[F32](BLOCK * n_columns)
        var tops = scratch.take[F32](BLOCK)
        var totals = scratch.take[F32](BLOCK)
        var zeros = scratch.take[F32](SPAN)
        var out = scratch.take[F32](BLOCK * PANEL)
        var at = (batch * self.kv.n_ctx + start) * n_state
        for head in range(self.kv.n_head):
            q.pack(
                self.q.unsafe_offset(at + head * n_channels),
                n_state,
                n_rows,
                n_channels,
                LOG2_E / sqrt(Float32(n_channels)),
            )
            self.attend(q, scores, sums, tops, totals, zeros, batch, head, n_rows)
            for i in range(round_up(n_rows, ROWS)):
                var share = 1 / totals.unsafe_load(i)
                var mean = sums.unsafe_offset(i * n_columns)
                var whole = n_channels // WIDTH * WIDTH if n_channels % WIDTH == 0 else 0
                for j in range(0, whole, WIDTH):
                    var x = mean.unsafe_load[width=WIDTH](j) * share
                    attended.put[WIDTH](x, i, head * n_channels + j)
                for j in range(whole, n_channels):
                    attended.put[1](mean.unsafe_load(j) * share, i, head * n_channels + j)
        for p in range(self.weights.n_panels()):
            var n = min(PANEL, n_state - p * PANEL)
            self.weights.add(out, attended, n_rows, p, 0, n_state, room)
            var to = self.into.unsafe_offset(at + p * PANEL)
            store_rows(to, self.x.unsafe_offset(at + p * PANEL), n_state, out, n_rows, n)
        _ = scratch^

    @no_inline
    def run(self, n_threads: Int) raises:
        var n_blocks = ceildiv(self.kv.n_ctx, BLOCK)
        var n_pieces = self.n_batch * n_blocks
        var n_tasks = n_workers(n_pieces, n_threads)

        def task(t: Int) {var self, var n_blocks, var n_pieces, var n_tasks}:
            for piece in range(t, n_pieces, n_tasks):
                var start = piece % n_blocks * BLOCK
                self.rows(piece // n_blocks, start, min(BLOCK, self.kv.n_ctx - start))

        sync_parallelize(task, n_tasks)


@extensibility.register("whisper_query_key_value")
struct QueryKeyValue:
    @staticmethod
    def execute[
        target: StaticString
    ](
        queries: OutputTensor[dtype=F32, rank=3, ...],
        keys: OutputTensor[dtype=F32, rank=5, ...],
        values: OutputTensor[dtype=F32, rank=4, ...],
        x: InputTensor[dtype=F32, rank=3, ...],
        norm_weight: InputTensor[dtype=F32, rank=1, ...],
        norm_bias: InputTensor[dtype=F32, rank=1, ...],
        panels: InputTensor[rank=3, ...],
        scales: InputTensor[dtype=F32, rank=1, ...],
        bias: InputTensor[dtype=F32, rank=1, ...],
        n_threads: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        Heads[panels.dtype, F32](
            floats(queries),
            KeysValues(
                floats(keys), floats(values), keys.dim_size(1), keys.dim_size(3), values.dim_size(2)
            ),
            floats(x),
            floats(norm_weight),
            floats(norm_bias),
            weights_of[F32](panels, scales, bias),
            x.dim_size(0),
            x.dim_size(1),
            True,
        ).run(allowed(n_threads))


@extensibility.register("whisper_key_value")
struct KeyValue:
    @staticmethod
    def execute[
        target: StaticString
    ](
        keys: OutputTensor[dtype=F32, rank=5, ...],
        values: OutputTensor[dtype=F32, rank=4, ...],
        x: InputTensor[dtype=F32, rank=3, ...],
        panels: InputTensor[rank=3, ...],
        scales: InputTensor[dtype=F32, rank=1, ...],
        bias: InputTensor[dtype=F32, rank=1, ...],
        n_threads: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Keys and values alone, of rows as they are."""
        Heads[panels.dtype, F32](
            floats(x),
            KeysValues(
                floats(keys), floats(values), keys.dim_size(1), keys.dim_size(3), values.dim_size(2)
            ),
            floats(x),
            floats(x),
            floats(x),
            weights_of[F32](panels, scales, bias),
            x.dim_size(0),
            x.dim_size(1),
            False,
        ).run(allowed(n_threads))


@extensibility.register("whisper_attend")
struct Attend:
    @staticmethod
    def execute[
        target: StaticString
    ](
        output: OutputTensor[dtype=F32, rank=3, ...],
        queries: InputTensor[dtype=F32, rank=3, ...],
        keys: InputTensor[dtype=F32, rank=5, ...],
        values: InputTensor[dtype=F32, rank=4, ...],
        x: InputTensor[dtype=F32, rank=3, ...],
        panels: InputTensor[rank=3, ...],
        scales: InputTensor[dtype=F32, rank=1, ...],
        bias: InputTensor[dtype=F32, rank=1, ...],
        n_threads: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        AttendOut[panels.dtype, F32](
            floats(output),
            floats(queries),
            KeysValues(
                floats(keys), floats(values), keys.dim_size(1), keys.dim_size(3), values.dim_size(2)
            ),
            floats(x),
            weights_of[F32](panels, scales, bias),
            x.dim_size(0),
        ).run(allowed(n_threads))
