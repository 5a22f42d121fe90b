"""Attention of queries to keys and values that lie where they are kept, in one pass over them.

Eight lanes share a key; each group of eight goes over its own keys with a running maximum, and all
groups are brought together at the end. Where there are few queries, the keys are split among blocks
as well.
"""
import max.gpu.primitives.warp as warp
from max.gpu import block_idx, lane_id, thread_idx, warp_id
from max.gpu.sync import barrier
from std.math import ceildiv, exp, sqrt
from std.memory import unsafe_stack_allocation
from .launch import let_next_start, wait_for_previous
from .pointers import F32, Floats, Integers, Memory, load

comptime THREADS = 128
comptime WARPS = THREADS // 32
comptime SHARING = 8
"""Lanes that share a key."""
comptime GROUPS = THREADS // SHARING
comptime UNROLLED = 4
"""Keys that a group reads at once."""
comptime LOWEST = Float32(-1e30)

comptime OWN = 0
"""Row i of queries attends to row i of keys."""
comptime WINDOWS = 1
"""Row i of queries attends to the window that a table names."""
comptime CACHED = 2
"""Row i of queries attends to the past, whose slots a table names, and to new keys, causally.

The new keys go where the table says as well."""


@always_inline
def sum_of_sharing(x: Float32) -> Float32:
    var y = x + warp.shuffle_xor(x, 1)
    y += warp.shuffle_xor(y, 2)
    return y + warp.shuffle_xor(y, 4)


def attention_kernel[
    q_type: DType, kv_type: DType, channels: Int, queries: Int, mode: Int
](
    into: Memory[q_type],
    parts: Floats,
    q: Memory[q_type],
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
    let_next_start()
    wait_for_previous()
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
        n_seen = min(n_past + min(query + queries, Int(n_queries)), Int(n_keys))
        for i in range(thread, queries * channels, THREADS):
            var asking = query + i // channels
            if asking < Int(n_queries) and n_past + asking < Int(n_keys):
                var position = n_past + asking
                var slot = Int64(table[unsafe_offset=row * Int(n_keys) + position])
                var to = slot * Int64(row_stride)
                to += Int64(position * Int(key_stride) + head * channels)
                var at = (first_row + asking) * Int(q_stride) + i % channels
                var key = q_at[unsafe_offset=at + n_state].cast[kv_type]()
                var value = q_at[unsafe_offset=at + 2 * n_state].cast[kv_type]()
                kept[unsafe_offset=Int(keys_at + to) + i % channels] = key
                kept[unsafe_offset=Int(values_at + to) + i % channels] = value

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
        comptime for u in range(UNROLLED):
            var position = at + u * GROUPS + group
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
            var is_seen = Array[Bool, UNROLLED](fill=False)
            var top = tops[i]
            var last = stop
            comptime if mode == CACHED:
                last = min(stop, n_past + query + i + 1)
            comptime for u in range(UNROLLED):
                is_seen[u] = at + u * GROUPS + group < last
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
            into[unsafe_offset=query_row * n_state + head * channels + at % channels] = (
                sum / total
            ).cast[q_type]()
        else:
            var part = ((query_row * Int(n_head) + head) * Int(n_splits) + split) * line
            parts[unsafe_offset=part + at % channels] = sum
            if at % channels == 0:
                parts[unsafe_offset=part + channels] = top
                parts[unsafe_offset=part + channels + 1] = total


def merge_kernel[
    out_type: DType, channels: Int
](into: Memory[out_type], parts: Floats, n_head: Int32, n_splits: Int32):
    """Blocks: (head, query row). Brings the splits of a query together."""
    let_next_start()
    wait_for_previous()
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
    into[unsafe_offset=at * channels + channel] = (sum / total).cast[out_type]()
