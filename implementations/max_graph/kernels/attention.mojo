"""Attention: all of a window, the text so far with its cache, and scores for alignment."""
import extensibility
from extensibility import IO, InputTensor, IOSpec, ManagedTensorSlice, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from std.math import ceildiv, exp, sqrt
from .keys_values import KeysValues
from .threads import allowed, n_workers
from .tile import F32, PANEL, ROWS, SERIAL_PRODUCTS, SPAN, WIDTH, Floats, Vector, floats, span

comptime MutableTensor = ManagedTensorSlice[IOSpec[True, IO.Input](), static_spec=_]
comptime BLOCK_QUERIES = 8 * ROWS
"""Queries of one piece of work: enough to meet a head's keys while they are in the cache."""


@no_inline
def softmax(row: Floats, n_valid: Int, n_padded: Int, scale: Float32) -> Float32:
    """Turns n_valid products into weights, zeroes the rest; gives one over the weights' sum."""
    var whole = n_valid // WIDTH * WIDTH
    var highest = Vector(-3.4e38)
    for j in range(0, whole, WIDTH):
        highest = max(highest, row.unsafe_load[width=WIDTH](j))
    var top = highest.reduce_max()
    for j in range(whole, n_valid):
        top = max(top, row.unsafe_load(j))
    var sums = Vector(0)
    for j in range(0, whole, WIDTH):
        var weights = exp((row.unsafe_load[width=WIDTH](j) - top) * scale)
        sums += weights
        row.unsafe_store(j, weights)
    var total = sums.reduce_add()
    for j in range(whole, n_valid):
        var weight = exp((row.unsafe_load(j) - top) * scale)
        total += weight
        row.unsafe_store(j, weight)
    for j in range(n_valid, n_padded):
        row.unsafe_store(j, Float32(0))
    return 1 / total


@fieldwise_init
struct Attention(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Queries [n_batch * n_queries, q_stride], all heads side by side, against their keys."""

    var into: Floats
    var q: Floats
    var kv: KeysValues
    var n_batch: Int
    var n_queries: Int
    var q_stride: Int
    var n_keys: Int
    """Keys that the last query sees."""
    var causal: Bool
    """Whether each query sees one key more than the one before it."""

    @always_inline
    def n_seen(self, query: Int) -> Int:
        return self.n_keys - (self.n_queries - 1 - query) if self.causal else self.n_keys

    @always_inline
    def scale(self) -> Float32:
        return 1 / sqrt(Float32(self.kv.n_channels))

    def products(
        self, into: Floats, stride: Int, batch: Int, head: Int, query: Int, n_rows: Int, n_seen: Int
    ):
        """Products, not scaled, of n_rows queries with n_seen keys, rounded up to a whole span."""
        var n_channels = self.kv.n_channels
        var q = self.q.unsafe_offset(
            (batch * self.n_queries + query) * self.q_stride + head * n_channels
        )
        var keys = self.kv.keys_of(batch, head)
        for first in range(0, n_seen, SPAN):
            var panel = keys.unsafe_offset(first // PANEL * PANEL * n_channels + first % PANEL)
            var to = into.unsafe_offset(first)
            span[F32](n_rows, to, stride, q, self.q_stride, panel, PANEL, n_channels)

    def rows(self, batch: Int, head: Int, query: Int, n_rows: Int, scratch: Floats, stride: Int):
        """Attention of n_rows queries, up to ROWS; scratch has room for ROWS * (stride + SPAN)."""
        var n_seen = self.n_seen(query + n_rows - 1)
        self.products(scratch, stride, batch, head, query, n_rows, n_seen)
        var scales = Array[Float32, ROWS](fill=0)
        for i in range(n_rows):
            var row = scratch.unsafe_offset(i * stride)
            scales[i] = softmax(row, self.n_seen(query + i), n_seen, self.scale())
        var n_channels = self.kv.n_channels
        var n_state = self.kv.n_head * n_channels
        var into = self.into.unsafe_offset(
            (batch * self.n_queries + query) * n_state + head * n_channels
        )
        var values = self.kv.values_of(batch, head)
        var n_columns = self.kv.n_columns()
        var sums = scratch.unsafe_offset(ROWS * stride)
        for column in range(0, n_channels, SPAN):
            var b = values.unsafe_offset(column)
            span[F32](n_rows, sums, SPAN, scratch, stride, b, n_columns, n_seen)
            for i in range(n_rows):
                for j in range(min(SPAN, n_channels - column)):
                    var mean = sums.unsafe_load(i * SPAN + j) * scales[i]
                    into.unsafe_store(i * n_state + column + j, mean)

    @no_inline
    def run(self, n_threads: Int) raises:
        var n_head = self.kv.n_head
        var stride = ceildiv(self.n_keys, PANEL) * PANEL
        var n_blocks = ceildiv(self.n_queries, BLOCK_QUERIES)
        var n_pieces = self.n_batch * n_head * n_blocks
        var n_parts = min(n_pieces, 4 * n_threads if self.n_queries > ROWS else n_threads)
        var n_tasks = n_workers(n_parts, n_threads)

        def task(
            t: Int,
        ) {var self, var n_head, var stride, var n_blocks, var n_pieces, var n_parts, var n_tasks}:
            var scratch = List[Float32](unsafe_uninit_length=ROWS * (stride + SPAN))
            for part in range(t, n_parts, n_tasks):
                for piece in range(part * n_pieces // n_parts, (part + 1) * n_pieces // n_parts):
                    var start = piece % n_blocks * BLOCK_QUERIES
                    var stop = min(self.n_queries, start + BLOCK_QUERIES)
                    for query in range(start, stop, ROWS):
                        self.rows(
                            piece // n_blocks // n_head,
                            piece // n_blocks % n_head,
                            query,
                            min(ROWS, stop - query),
                            rebind[Floats](scratch.unsafe_ptr()),
                            stride,
                        )
            _ = scratch^

        var n_products = self.n_batch * self.n_queries * self.n_keys * n_head * self.kv.n_channels
        if 2 * n_products < SERIAL_PRODUCTS:
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
        n_threads: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Every query sees all keys; a key batch of one serves every batch of queries."""
        var n_batch = keys.dim_size(0)
        var n_keys = values.dim_size(2)
        Attention(
            floats(output),
            floats(q),
            KeysValues(floats(keys), floats(values), keys.dim_size(1), keys.dim_size(3), n_keys),
            n_batch,
            q.dim_size(0) * q.dim_size(1) // n_batch,
            q.dim_size(2),
            n_keys,
            False,
        ).run(allowed(n_threads))


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
        n_threads: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Stores a text's keys and values in the cache's first slot, then attends to them."""
        var n_new = qkv.dim_size(1)
        var kv = KeysValues(
            floats(keys), floats(values), keys.dim_size(1), keys.dim_size(3), values.dim_size(2)
        )
        var n_state = kv.n_head * kv.n_channels
        var q = floats(qkv)
        kv.begin(q.unsafe_offset(n_state), 3 * n_state, n_new, allowed(n_threads))
        Attention(
            floats(output), q, kv, 1, n_new, 3 * n_state, n_new, True
        ).run(allowed(n_threads))


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
        """Fills scores[i] [n_queries, n_keys] where row i of heads, (layer, head), names layer."""
        var n_queries = q.dim_size(1)
        var n_keys = scores.dim_size(2)
        var kv = KeysValues(
            floats(keys), floats(keys), keys.dim_size(1), keys.dim_size(3), n_keys
        )
        var into = floats(scores)
        var attention = Attention(
            into, floats(q), kv, 1, n_queries, q.dim_size(2), n_keys, False
        )
        var row = List[Float32](unsafe_uninit_length=ceildiv(n_keys, PANEL) * PANEL)
        var padded = rebind[Floats](row.unsafe_ptr())
        for i in range(heads.dim_size(0)):
            if heads[i, 0] != layer[0]:
                continue
            for query in range(n_queries):
                attention.products(padded, 0, 0, Int(heads[i, 1]), query, 1, n_keys)
                for j in range(n_keys):
                    var score = padded.unsafe_load(j) * attention.scale()
                    into.unsafe_store((i * n_queries + query) * n_keys + j, score)
        _ = row^
