"""Attention over panelled keys, and the layouts it reads.

Keys lie as [n_batch, n_head, n_panels, n_channels, PANEL], so that one query meets PANEL keys at a
time without a horizontal sum; values as [n_batch, n_head, n_ctx, n_channels].
"""
import extensibility
from extensibility import IO, InputTensor, IOSpec, ManagedTensorSlice, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, exp, sqrt
from std.memory import Pointer
from .tile import F32, PANEL, ROWS, SPAN, WIDTH, Floats, Vector, tile

comptime MutableTensor = ManagedTensorSlice[IOSpec[True, IO.Input](), static_spec=_]
comptime BLOCK_QUERIES = 8 * ROWS
comptime SERIAL_PRODUCTS = 200_000


def softmax(row: Floats, n_valid: Int, n_padded: Int) -> Float32:
    """Turns n_valid scores into unnormalised weights, zeroes the rest, returns one over their sum."""
    var whole = n_valid // WIDTH * WIDTH
    var highest = Vector(-3.4e38)
    for j in range(0, whole, WIDTH):
        highest = max(highest, row.unsafe_load[width=WIDTH](j))
    var top = highest.reduce_max()
    for j in range(whole, n_valid):
        top = max(top, row.unsafe_load(j))
    var sums = Vector(0)
    for j in range(0, whole, WIDTH):
        var weights = exp(row.unsafe_load[width=WIDTH](j) - top)
        sums += weights
        row.unsafe_store(j, weights)
    var total = sums.reduce_add()
    for j in range(whole, n_valid):
        var weight = exp(row.unsafe_load(j) - top)
        total += weight
        row.unsafe_store(j, weight)
    for j in range(n_valid, n_padded):
        row.unsafe_store(j, Float32(0))
    return 1 / total


@fieldwise_init
struct Attention(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Queries [n_batch * n_queries, stride] against the first keys of each batch entry."""

    var into: Floats
    var q: Floats
    var keys: Floats
    var values: Floats
    var n_batch: Int
    var n_queries: Int
    var q_stride: Int
    var n_head: Int
    var n_channels: Int
    var n_ctx: Int
    """Keys for which there is room."""
    var n_keys: Int
    """Keys that the last query sees."""
    var causal: Bool

    @always_inline
    def n_seen(self, query: Int) -> Int:
        return self.n_keys - (self.n_queries - 1 - query) if self.causal else self.n_keys

    @always_inline
    def keys_of(self, batch: Int, head: Int) -> Floats:
        var n_padded = ceildiv(self.n_ctx, PANEL) * PANEL
        return self.keys.unsafe_offset((batch * self.n_head + head) * n_padded * self.n_channels)

    @always_inline
    def scores[rows: Int](self, into: Floats, stride: Int, q: Floats, keys: Floats, n_seen: Int):
        """Scaled products of some queries with n_seen keys, rounded up to whole spans."""
        var scale = Vector(1 / sqrt(Float32(self.n_channels)))
        for first in range(0, n_seen, SPAN):
            var panel = keys.unsafe_offset(first // PANEL * PANEL * self.n_channels + first % PANEL)
            var sums = tile[rows, F32](q, self.q_stride, panel, PANEL, self.n_channels)
            comptime for i in range(2 * rows):
                into.unsafe_store(i // 2 * stride + first + i % 2 * WIDTH, sums[i] * scale)

    @always_inline
    def rows[rows: Int](self, batch: Int, head: Int, query: Int, scratch: Floats, stride: Int):
        var row = batch * self.n_queries + query
        var n_seen = self.n_seen(query + rows - 1)
        var q = self.q.unsafe_offset(row * self.q_stride + head * self.n_channels)
        self.scores[rows](scratch, stride, q, self.keys_of(batch, head), n_seen)
        var scales = Array[Float32, rows](fill=0)
        comptime for i in range(rows):
            scales[i] = softmax(scratch.unsafe_offset(i * stride), self.n_seen(query + i), n_seen)
        var values = self.values.unsafe_offset((batch * self.n_head + head) * self.n_ctx * self.n_channels)
        var n_state = self.n_head * self.n_channels
        var out = self.into.unsafe_offset(row * n_state + head * self.n_channels)
        for column in range(0, self.n_channels, SPAN):
            var sums = tile[rows, F32](
                scratch, stride, values.unsafe_offset(column), self.n_channels, n_seen
            )
            comptime for i in range(2 * rows):
                out.unsafe_store(i // 2 * n_state + column + i % 2 * WIDTH, sums[i] * scales[i // 2])

    def unit(self, batch: Int, head: Int, start: Int, stop: Int, scratch: Floats, stride: Int):
        var query = start
        while query + ROWS <= stop:
            self.rows[ROWS](batch, head, query, scratch, stride)
            query += ROWS
        while query + 4 <= stop:
            self.rows[4](batch, head, query, scratch, stride)
            query += 4
        while query < stop:
            self.rows[1](batch, head, query, scratch, stride)
            query += 1

    @no_inline
    def run(self) raises:
        var stride = ceildiv(self.n_keys, PANEL) * PANEL
        var n_blocks = ceildiv(self.n_queries, BLOCK_QUERIES)
        var n_units = self.n_batch * self.n_head * n_blocks
        var n_products = self.n_batch * self.n_head * self.n_queries * self.n_keys * self.n_channels * 2
        var n_threads = parallelism_level(None)
        var n_tasks = min(n_units, 4 * n_threads if self.n_queries > ROWS else n_threads)

        def task(t: Int) {var self, var stride, var n_blocks, var n_units, var n_tasks}:
            var scratch = List[Float32](unsafe_uninit_length=ROWS * stride)
            for unit in range(t * n_units // n_tasks, (t + 1) * n_units // n_tasks):
                var start = unit % n_blocks * BLOCK_QUERIES
                self.unit(
                    unit // n_blocks // self.n_head,
                    unit // n_blocks % self.n_head,
                    start,
                    min(self.n_queries, start + BLOCK_QUERIES),
                    rebind[Floats](scratch.unsafe_ptr()),
                    stride,
                )
            _ = scratch^

        if n_products < SERIAL_PRODUCTS:
            for t in range(n_tasks):
                task(t)
        else:
            sync_parallelize(task, n_tasks)


@extensibility.register("whisper_attention")
struct FullAttention:
    @staticmethod
    def execute[
        target: StaticString
    ](
        output: OutputTensor[dtype=F32, rank=3, ...],
        q: InputTensor[dtype=F32, rank=3, ...],
        keys: InputTensor[dtype=F32, rank=5, ...],
        values: InputTensor[dtype=F32, rank=4, ...],
        ctx: DeviceContext,
    ) raises:
        """Every query of a batch entry sees all keys of that entry."""
        Attention(
            rebind[Floats](output.unsafe_ptr()),
            rebind[Floats](q.unsafe_ptr()),
            rebind[Floats](keys.unsafe_ptr()),
            rebind[Floats](values.unsafe_ptr()),
            values.dim_size(0),
            q.dim_size(0) * q.dim_size(1) // values.dim_size(0),
            q.dim_size(2),
            values.dim_size(1),
            values.dim_size(3),
            values.dim_size(2),
            values.dim_size(2),
            False,
        ).run()


@extensibility.register("whisper_cached_attention")
struct CachedAttention:
    @staticmethod
    def execute[
        target: StaticString
    ](
        output: OutputTensor[dtype=F32, rank=3, ...],
        keys: MutableTensor[dtype=F32, rank=5, ...],
        values: MutableTensor[dtype=F32, rank=4, ...],
        qkv: InputTensor[dtype=F32, rank=3, ...],
        offset: InputTensor[dtype=DType.int32, rank=1, ...],
        sources: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Moves cached rows to where sources says, appends the new keys and values, then attends."""
        var n_batch = sources.dim_size(0)
        var n_queries = qkv.dim_size(1)
        var n_past = Int(offset[0])
        var cache = Cache(
            rebind[Floats](keys.unsafe_ptr()),
            rebind[Floats](values.unsafe_ptr()),
            values.dim_size(1),
            values.dim_size(3),
            values.dim_size(2),
        )
        cache.reorder(rebind[Pointer[Int32, MutUntrackedOrigin]](sources.unsafe_ptr()), n_batch, n_past)
        var n_state = values.dim_size(1) * values.dim_size(3)
        var x = rebind[Floats](qkv.unsafe_ptr())
        cache.append(x.unsafe_offset(n_state), 3 * n_state, n_batch, n_queries, n_past)
        Attention(
            rebind[Floats](output.unsafe_ptr()),
            x,
            cache.keys,
            cache.values,
            n_batch,
            n_queries,
            3 * n_state,
            cache.n_head,
            cache.n_channels,
            cache.n_ctx,
            n_past + n_queries,
            True,
        ).run()


@extensibility.register("whisper_split_keys_values")
struct SplitKeysValues:
    @staticmethod
    def execute[
        target: StaticString
    ](
        keys: OutputTensor[dtype=F32, rank=5, ...],
        values: OutputTensor[dtype=F32, rank=4, ...],
        kv: InputTensor[dtype=F32, rank=3, ...],
        ctx: DeviceContext,
    ) raises:
        """Lays out the last two thirds or halves of kv's columns as keys and values."""
        var n_batch = values.dim_size(0)
        var n_state = values.dim_size(1) * values.dim_size(3)
        var n_columns = kv.dim_size(2)
        Cache(
            rebind[Floats](keys.unsafe_ptr()),
            rebind[Floats](values.unsafe_ptr()),
            values.dim_size(1),
            values.dim_size(3),
            values.dim_size(2),
        ).append(
            rebind[Floats](kv.unsafe_ptr()).unsafe_offset(n_columns - 2 * n_state),
            n_columns,
            n_batch,
            kv.dim_size(1),
            0,
        )


@fieldwise_init
struct Cache(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Keys and values in the layouts above."""

    var keys: Floats
    var values: Floats
    var n_head: Int
    var n_channels: Int
    var n_ctx: Int

    @always_inline
    def key_floats(self) -> Int:
        return ceildiv(self.n_ctx, PANEL) * PANEL * self.n_channels

    @no_inline
    def append(self, kv: Floats, stride: Int, n_batch: Int, n_rows: Int, n_past: Int) raises:
        """Stores n_rows new keys and values of each batch entry after the n_past that are there."""
        var n_state = self.n_head * self.n_channels

        def entry(unit: Int) {var self, var kv, var stride, var n_rows, var n_past, var n_state}:
            var batch = unit // self.n_head
            var column = unit % self.n_head * self.n_channels
            var keys = self.keys.unsafe_offset(unit * self.key_floats())
            var values = self.values.unsafe_offset(unit * self.n_ctx * self.n_channels)
            for i in range(n_rows):
                var position = n_past + i
                var new = kv.unsafe_offset((batch * n_rows + i) * stride + column)
                var into = keys.unsafe_offset(
                    position // PANEL * PANEL * self.n_channels + position % PANEL
                )
                for c in range(self.n_channels):
                    into.unsafe_store(c * PANEL, new.unsafe_load(c))
                for c in range(0, self.n_channels, WIDTH):
                    values.unsafe_store(
                        position * self.n_channels + c,
                        new.unsafe_load[width=WIDTH](n_state + c),
                    )

        if n_rows * n_batch < 64:
            for unit in range(n_batch * self.n_head):
                entry(unit)
        else:
            sync_parallelize(entry, n_batch * self.n_head)

    @no_inline
    def reorder(self, sources: Pointer[Int32, MutUntrackedOrigin], n_batch: Int, n_past: Int):
        """Makes batch entry i what entry sources[i] was, over the n_past valid positions."""
        var n_moved = 0
        for i in range(n_batch):
            n_moved += Int(Int(sources.unsafe_load(i)) != i)
        if n_moved == 0 or n_past == 0:
            return
        var n_keys = ceildiv(n_past, PANEL) * PANEL * self.n_channels
        var n_values = n_past * self.n_channels
        var kept = List[Float32](unsafe_uninit_length=n_batch * (n_keys + n_values))
        var copies = rebind[Floats](kept.unsafe_ptr())
        for head in range(self.n_head):
            for step in range(2):
                for i in range(n_batch):
                    var source = Int(sources.unsafe_load(i))
                    if source == i:
                        continue
                    var at = (source if step == 0 else i) * self.n_head + head
                    var keys = self.keys.unsafe_offset(at * self.key_floats())
                    var values = self.values.unsafe_offset(at * self.n_ctx * self.n_channels)
                    var copy = copies.unsafe_offset(i * (n_keys + n_values))
                    if step == 0:
                        move(copy, keys, n_keys)
                        move(copy.unsafe_offset(n_keys), values, n_values)
                    else:
                        move(keys, copy, n_keys)
                        move(values, copy.unsafe_offset(n_keys), n_values)
        _ = kept^


@always_inline
def move(into: Floats, source: Floats, n: Int):
    """Copies n floats, n a multiple of WIDTH."""
    for i in range(0, n, WIDTH):
        into.unsafe_store(i, source.unsafe_load[width=WIDTH](i))


@extensibility.register("whisper_attention_scores")
struct AttentionScores:
    @staticmethod
    def execute[
        target: StaticString
    ](
        scores: MutableTensor[dtype=F32, rank=3, ...],
        q: InputTensor[dtype=F32, rank=3, ...],
        keys: InputTensor[dtype=F32, rank=5, ...],
        heads: InputTensor[dtype=DType.int32, rank=2, ...],
        layer: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Fills scores[i] [n_queries, n_keys] for each row i of heads (layer, head) that names this layer."""
        var n_queries = q.dim_size(1)
        var n_keys = scores.dim_size(2)
        var n_head = keys.dim_size(1)
        var n_channels = keys.dim_size(3)
        var attention = Attention(
            rebind[Floats](scores.unsafe_ptr()),
            rebind[Floats](q.unsafe_ptr()),
            rebind[Floats](keys.unsafe_ptr()),
            rebind[Floats](keys.unsafe_ptr()),
            1,
            n_queries,
            q.dim_size(2),
            n_head,
            n_channels,
            n_keys,
            n_keys,
            False,
        )
        var stride = ceildiv(n_keys, PANEL) * PANEL
        var row = List[Float32](unsafe_uninit_length=stride)
        var floats = rebind[Floats](row.unsafe_ptr())
        for i in range(heads.dim_size(0)):
            if heads[i, 0] != layer[0]:
                continue
            var head = Int(heads[i, 1])
            for query in range(n_queries):
                attention.scores[1](
                    floats,
                    stride,
                    attention.q.unsafe_offset(query * attention.q_stride + head * n_channels),
                    attention.keys_of(0, head),
                    n_keys,
                )
                var into = attention.into.unsafe_offset((i * n_queries + query) * n_keys)
                for j in range(n_keys):
                    into.unsafe_store(j, floats.unsafe_load(j))
        _ = row^
