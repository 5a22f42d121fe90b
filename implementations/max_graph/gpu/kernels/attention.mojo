"""Attention of queries to keys and values that lie where they are kept, in one pass over them.

Eight lanes share a key; each group of eight goes over its own keys with a running maximum, and all
groups are brought together at the end. Where there are few queries, the keys are split among blocks
as well.
"""
import max.gpu.primitives.warp as warp
import extensibility
from extensibility import IO, InputTensor, IOSpec, ManagedTensorSlice, OutputTensor
from max.gpu import block_idx, lane_id, thread_idx, warp_id
from max.gpu.host import DeviceContext
from max.gpu.sync import barrier
from std.math import ceildiv, exp, sqrt
from std.memory import unsafe_stack_allocation
from .pointers import F32, Floats, Integers, Memory, load, memory

comptime MutableTensor = ManagedTensorSlice[IOSpec[True, IO.Input](), static_spec=_]
comptime THREADS = 128
comptime WARPS = THREADS // 32
comptime SHARING = 8
"""Lanes that share a key."""
comptime GROUPS = THREADS // SHARING
comptime UNROLLED = 4
"""Keys that a group reads at once."""
comptime LOWEST = Float32(-1e30)
comptime MAX_SPLITS = 16
comptime ENOUGH_BLOCKS = 264
"""Two for each multiprocessor of the largest GPUs."""

comptime OWN = 0
"""Row i of queries attends to row i of keys."""
comptime WINDOWS = 1
"""Row i of queries attends to the window that a table names."""
comptime CACHED = 2
"""Row i of queries attends to the past, whose slots a table names, and to new keys, causally."""


@always_inline
def sum_of_sharing(x: Float32) -> Float32:
    var y = x + warp.shuffle_xor(x, 1)
    y += warp.shuffle_xor(y, 2)
    return y + warp.shuffle_xor(y, 4)


def attention_kernel[
    kv_type: DType, channels: Int, queries: Int, mode: Int
](
    into: Floats,
    q: Floats,
    kept: Memory[kv_type],
    offsets: Integers,
    table: Integers,
    q_stride: Int32,
    row_stride: Int32,
    key_stride: Int32,
    keys_at: Int64,
    values_at: Int64,
    n_queries: Int32,
    n_keys: Int32,
    n_head: Int32,
    n_splits: Int32,
):
    """Blocks: (head and split, queries, row). Writes attention, or parts of it where split."""
    comptime width = channels // SHARING
    var thread = Int(thread_idx.x)
    var group = thread // SHARING
    var channel = thread % SHARING * width
    var head = Int(block_idx.x) // Int(n_splits)
    var split = Int(block_idx.x) % Int(n_splits)
    var query = Int(block_idx.y) * queries
    var row = Int(block_idx.z)
    var n_state = Int(n_head) * channels
    var first_row = row * Int(n_queries)
    var scale = 1 / sqrt(Float32(channels))
    var q_at = q.unsafe_offset(head * channels)

    var n_past = 0
    var n_seen = Int(n_keys)
    var base = Int64(row) * Int64(row_stride)
    comptime if mode == WINDOWS:
        base = Int64(table[unsafe_offset=row]) * Int64(row_stride)
    comptime if mode == CACHED:
        n_past = Int(offsets[unsafe_offset=row])
        n_seen = min(n_past + query + 1, Int(n_keys))
        if n_past + query < Int(n_keys) and split == 0:
            var to = base + Int64((n_past + query) * Int(key_stride) + head * channels)
            for i in range(thread, channels, THREADS):
                var at = (first_row + query) * Int(q_stride) + i
                var key = q_at[unsafe_offset=at + n_state].cast[kv_type]()
                var value = q_at[unsafe_offset=at + 2 * n_state].cast[kv_type]()
                kept[unsafe_offset=Int(keys_at + to) + i] = key
                kept[unsafe_offset=Int(values_at + to) + i] = value

    var asked = Array[SIMD[F32, width], queries](fill=SIMD[F32, width](0))
    comptime for i in range(queries):
        var at = (first_row + min(query + i, Int(n_queries) - 1)) * Int(q_stride)
        asked[i] = load[width](q_at, at + channel) * scale
    var tops = Array[Float32, queries](fill=LOWEST)
    var totals = Array[Float32, queries](fill=0)
    var sums = Array[SIMD[F32, width], queries](fill=SIMD[F32, width](0))

    var n_each = ceildiv(n_seen, Int(n_splits))
    var start = split * n_each
    var stop = min(start + n_each, n_seen)
    for at in range(start, stop, GROUPS * UNROLLED):
        var keys = Array[SIMD[F32, width], UNROLLED](fill=SIMD[F32, width](0))
        var values = Array[SIMD[F32, width], UNROLLED](fill=SIMD[F32, width](0))
        var is_seen = Array[Bool, UNROLLED](fill=False)
        comptime for u in range(UNROLLED):
            var position = at + u * GROUPS + group
            is_seen[u] = position < stop
            position = min(position, stop - 1)
            if mode == CACHED and position >= n_past:
                var new = (first_row + position - n_past) * Int(q_stride) + channel
                keys[u] = load[width](q_at, new + n_state).cast[kv_type]().cast[F32]()
                values[u] = load[width](q_at, new + 2 * n_state).cast[kv_type]().cast[F32]()
            else:
                var line = base
                comptime if mode == CACHED:
                    var slot = table[unsafe_offset=row * Int(n_keys) + position]
                    line = Int64(slot) * Int64(row_stride)
                line += Int64(position * Int(key_stride) + head * channels + channel)
                keys[u] = load[width](kept, Int(keys_at + line))
                values[u] = load[width](kept, Int(values_at + line))
        comptime for i in range(queries):
            var scores = Array[Float32, UNROLLED](fill=0)
            var top = tops[i]
            comptime for u in range(UNROLLED):
                scores[u] = sum_of_sharing((asked[i] * keys[u]).reduce_add())
                if is_seen[u]:
                    top = max(top, scores[u])
            var fading = exp(tops[i] - top)
            tops[i] = top
            totals[i] *= fading
            sums[i] *= fading
            comptime for u in range(UNROLLED):
                var weight = exp(scores[u] - top) if is_seen[u] else Float32(0)
                totals[i] += weight
                sums[i] = values[u].fma(SIMD[F32, width](weight), sums[i])

    comptime line = channels + 2
    var shared = unsafe_stack_allocation[
        WARPS * queries * line, Float32, alignment=16, address_space=.SHARED
    ]()
    comptime for i in range(queries):
        comptime for step in range(8, 17, 8):
            var other = warp.shuffle_xor(tops[i], UInt32(step))
            var top = max(tops[i], other)
            var mine = exp(tops[i] - top)
            var theirs = exp(other - top)
            tops[i] = top
            totals[i] = totals[i] * mine + warp.shuffle_xor(totals[i], UInt32(step)) * theirs
            comptime for c in range(width):
                sums[i][c] = (
                    sums[i][c] * mine + warp.shuffle_xor(sums[i][c], UInt32(step)) * theirs
                )
        if Int(lane_id()) < SHARING:
            var part = (i * WARPS + Int(warp_id())) * line
            comptime for c in range(width):
                shared[unsafe_offset=part + channel + c] = sums[i][c]
            shared[unsafe_offset=part + channels] = tops[i]
            shared[unsafe_offset=part + channels + 1] = totals[i]
    barrier()
    for at in range(thread, queries * channels, THREADS):
        var i = at // channels
        if query + i >= Int(n_queries):
            return
        var top = LOWEST
        comptime for w in range(WARPS):
            top = max(top, shared[unsafe_offset=(i * WARPS + w) * line + channels])
        var total = Float32(0)
        var sum = Float32(0)
        comptime for w in range(WARPS):
            var part = (i * WARPS + w) * line
            var weight = exp(shared[unsafe_offset=part + channels] - top)
            total += shared[unsafe_offset=part + channels + 1] * weight
            sum += shared[unsafe_offset=part + at % channels] * weight
        var query_row = first_row + query + i
        if Int(n_splits) == 1:
            into[unsafe_offset=query_row * n_state + head * channels + at % channels] = sum / total
        else:
            var part = ((query_row * Int(n_head) + head) * Int(n_splits) + split) * line
            into[unsafe_offset=part + at % channels] = sum
            if at % channels == 0:
                into[unsafe_offset=part + channels] = top
                into[unsafe_offset=part + channels + 1] = total


def merge_kernel[channels: Int](into: Floats, parts: Floats, n_head: Int32, n_splits: Int32):
    """Blocks: (head, query row). Brings the splits of a query together."""
    comptime line = channels + 2
    var channel = Int(thread_idx.x)
    var at = Int(block_idx.y) * Int(n_head) + Int(block_idx.x)
    var top = LOWEST
    for s in range(Int(n_splits)):
        top = max(top, parts[unsafe_offset=(at * Int(n_splits) + s) * line + channels])
    var total = Float32(0)
    var sum = Float32(0)
    for s in range(Int(n_splits)):
        var part = (at * Int(n_splits) + s) * line
        var weight = exp(parts[unsafe_offset=part + channels] - top)
        total += parts[unsafe_offset=part + channels + 1] * weight
        sum += parts[unsafe_offset=part + channel] * weight
    into[unsafe_offset=at * channels + channel] = sum / total


@extensibility.register("whisper_gpu_attention")
struct Attention:
    @staticmethod
    def execute[
        target: StaticString, channels: Int
    ](
        output: OutputTensor[dtype=F32, rank=3, ...],
        qkv: InputTensor[dtype=F32, rank=3, ...],
        ctx: DeviceContext,
    ) raises:
        """All of a window: queries, keys and values side by side [n_batch, n_ctx, 3 * n_state]."""
        comptime queries = 8
        var n_state = qkv.dim_size(2) // 3
        var n_ctx = qkv.dim_size(1)
        var nothing = rebind[Integers](memory(qkv))
        ctx.enqueue_function[attention_kernel[F32, channels, queries, OWN]](
            memory(output),
            memory(qkv),
            memory(qkv),
            nothing,
            nothing,
            Int32(3 * n_state),
            Int32(n_ctx * 3 * n_state),
            Int32(3 * n_state),
            Int64(n_state),
            Int64(2 * n_state),
            Int32(n_ctx),
            Int32(n_ctx),
            Int32(n_state // channels),
            Int32(1),
            grid_dim=(n_state // channels, ceildiv(n_ctx, queries), qkv.dim_size(0)),
            block_dim=THREADS,
        )


@extensibility.register("whisper_gpu_audio_attention")
struct AudioAttention:
    @staticmethod
    def execute[
        target: StaticString, channels: Int, layer: Int
    ](
        output: OutputTensor[dtype=F32, rank=3, ...],
        parts: OutputTensor[dtype=F32, rank=2, ...],
        q: InputTensor[dtype=F32, rank=3, ...],
        audio: InputTensor[rank=3, ...],
        windows: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Text to audio, [n_windows, n_audio_ctx, n_layer * 2 * n_state]; parts is for splits."""
        var n_state = q.dim_size(2)
        var n_head = n_state // channels
        var n_keys = audio.dim_size(1)
        var stride = audio.dim_size(2)
        var n_rows = q.dim_size(0)
        var n_queries = q.dim_size(1)
        var n_blocks = n_rows * n_queries * n_head
        var n_splits = max(1, min(MAX_SPLITS, ceildiv(ENOUGH_BLOCKS, n_blocks)))
        ctx.enqueue_function[attention_kernel[audio.dtype, channels, 1, WINDOWS]](
            memory(output) if n_splits == 1 else memory(parts),
            memory(q),
            memory(audio),
            memory(windows),
            memory(windows),
            Int32(n_state),
            Int32(n_keys * stride),
            Int32(stride),
            Int64(2 * layer * n_state),
            Int64((2 * layer + 1) * n_state),
            Int32(n_queries),
            Int32(n_keys),
            Int32(n_head),
            Int32(n_splits),
            grid_dim=(n_head * n_splits, n_queries, n_rows),
            block_dim=THREADS,
        )
        if n_splits > 1:
            ctx.enqueue_function[merge_kernel[channels]](
                memory(output),
                memory(parts),
                Int32(n_head),
                Int32(n_splits),
                grid_dim=(n_head, n_rows * n_queries),
                block_dim=channels,
            )


@extensibility.register("whisper_gpu_cached_attention")
struct CachedAttention:
    @staticmethod
    def execute[
        target: StaticString, channels: Int, layer: Int
    ](
        output: OutputTensor[dtype=F32, rank=3, ...],
        cache: MutableTensor[rank=4, ...],
        qkv: InputTensor[dtype=F32, rank=3, ...],
        offsets: InputTensor[dtype=DType.int32, rank=1, ...],
        slots: InputTensor[dtype=DType.int32, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        """The text so far, kept as [n_layer, n_slots, n_text_ctx, 2 * n_state]; appends to it."""
        var n_state = qkv.dim_size(2) // 3
        var n_keys = cache.dim_size(2)
        var row_stride = n_keys * 2 * n_state
        var at = layer * cache.dim_size(1) * row_stride
        ctx.enqueue_function[attention_kernel[cache.dtype, channels, 1, CACHED]](
            memory(output),
            memory(qkv),
            memory(cache),
            memory(offsets),
            memory(slots),
            Int32(3 * n_state),
            Int32(row_stride),
            Int32(2 * n_state),
            Int64(at),
            Int64(at + n_state),
            Int32(qkv.dim_size(1)),
            Int32(n_keys),
            Int32(n_state // channels),
            Int32(1),
            grid_dim=(n_state // channels, qkv.dim_size(1), qkv.dim_size(0)),
            block_dim=THREADS,
        )


def scores_kernel[
    kv_type: DType
](
    into: Floats,
    q: Floats,
    audio: Memory[kv_type],
    heads: Integers,
    layer: Int32,
    n_channels: Int32,
    n_queries: Int32,
    n_keys: Int32,
    n_state: Int32,
    stride: Int32,
):
    """Blocks: (query, chosen head). Each thread scores its own keys."""
    var chosen = Int(block_idx.y)
    if heads[unsafe_offset=2 * chosen] != layer:
        return
    var channels = Int(n_channels)
    var head = Int(heads[unsafe_offset=2 * chosen + 1])
    var query = Int(block_idx.x)
    var scale = 1 / sqrt(Float32(channels))
    for key in range(Int(thread_idx.x), Int(n_keys), THREADS):
        var at = key * Int(stride) + 2 * Int(layer) * Int(n_state) + head * channels
        var sum = Float32(0)
        for c in range(channels):
            sum = q[unsafe_offset=query * Int(n_state) + head * channels + c].fma(
                audio[unsafe_offset=at + c].cast[F32](), sum
            )
        into[unsafe_offset=(chosen * Int(n_queries) + query) * Int(n_keys) + key] = sum * scale


@extensibility.register("whisper_gpu_attention_scores")
struct AttentionScores:
    @staticmethod
    def execute[
        target: StaticString, channels: Int, layer: Int
    ](
        scores: MutableTensor[dtype=F32, rank=3, ...],
        q: InputTensor[dtype=F32, rank=3, ...],
        audio: InputTensor[rank=3, ...],
        heads: InputTensor[dtype=DType.int32, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        """Fills scores[i] [n_new, n_audio_ctx] where row i of heads, (layer, head), names layer."""
        ctx.enqueue_function[scores_kernel[audio.dtype]](
            memory(scores),
            memory(q),
            memory(audio),
            memory(heads),
            Int32(layer),
            Int32(channels),
            Int32(q.dim_size(1)),
            Int32(audio.dim_size(1)),
            Int32(q.dim_size(2)),
            Int32(audio.dim_size(2)),
            grid_dim=(q.dim_size(1), heads.dim_size(0)),
            block_dim=THREADS,
        )
