"""Attention with an online softmax on the CUDA cores, of queries to keys and values in place.

Eight lanes share a key; each group of eight goes over its own keys with a running maximum, and the
groups are combined at the end. Where there are few queries, keys are split among blocks as well
(flash decoding).
"""
import max.gpu.primitives.warp as warp
from max.gpu import WARP_SIZE, block_idx, lane_id, thread_idx, warp_id
from max.gpu.sync import barrier
from std.math import ceildiv, exp, sqrt
from std.memory import unsafe_stack_allocation
from .math import LOWEST_SCORE
from .pdl import launch_dependents, wait_on_dependencies
from .pointers import F32, DevicePointer, FloatPointer, IntPointer, load

comptime THREADS = 128
comptime WARPS = THREADS // WARP_SIZE
comptime LANES_PER_KEY = 8
"""Lanes that share a key."""
comptime KEY_GROUPS = THREADS // LANES_PER_KEY
comptime UNROLL = 4
"""Keys that a group reads at once."""
comptime SELF = 0
"""Row i of queries attends to row i of keys."""
comptime CROSS = 1
"""Row i of queries attends to the window that a table names."""
comptime CACHED_SELF = 2
"""Row i of queries attends to the cache, whose slots a table names, and to new keys, causally.

New keys and values are stored in the slots that the table names for their positions.
"""


@always_inline
def sum_over_key_lanes(x: Float32) -> Float32:
    """Returns the sum over the lanes that share a key, to all of them."""
    var y = x + warp.shuffle_xor(x, 1)
    y += warp.shuffle_xor(y, 2)
    return y + warp.shuffle_xor(y, 4)


def attention_kernel[
    *, q_type: DType, kv_type: DType, head_dim: Int, queries: Int, mode: Int
](
    output: DevicePointer[q_type],
    partials: FloatPointer,
    q: DevicePointer[q_type],
    kv: DevicePointer[kv_type],
    offsets: IntPointer,
    table: IntPointer,
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
    """Computes attention, or parts of it; blocks: (head and split, queries, row).

    Parameters:
        q_type: Of queries and output.
        kv_type: Of keys and values.
        head_dim: Width of a head, eight times a power of two.
        queries: Queries of a block, which share the keys that it reads.
        mode: SELF, CROSS or CACHED_SELF.

    Args:
        output: [n_rows, n_queries, n_state].
        partials: Where split, sums of values, largest score and sum of exponentials of each split,
            [n_rows * n_queries * n_head, n_splits, head_dim + 2].
        q: [n_rows, n_queries, q_stride]; where cached, keys and values follow the queries.
        kv: Keys and values in device memory.
        offsets: Where cached, the positions that each row has filled, [n_rows].
        table: Where cached, slots [n_rows, n_keys]; for CROSS, windows [n_rows].
        q_stride: Values from query to query.
        row_stride: Values from one row, window or slot of keys to the next.
        key_stride: Values from key to key.
        keys_at: Offset of the first key.
        values_at: Offset of the first value.
        n_queries: Queries of a row.
        n_keys: Keys of a row at most.
        n_head: Heads.
        n_splits: Blocks that share the keys of a query.
    """
    comptime assert head_dim >= LANES_PER_KEY and head_dim & (head_dim - 1) == 0, "power of two"
    launch_dependents()
    wait_on_dependencies()
    comptime width = head_dim // LANES_PER_KEY
    var thread = Int(thread_idx.x)
    var group = thread // LANES_PER_KEY
    var channel = thread % LANES_PER_KEY * width
    var head = Int(block_idx.x) // Int(n_splits)
    var split = Int(block_idx.x) % Int(n_splits)
    var query = Int(block_idx.y) * queries
    var row = Int(block_idx.z)
    var n_state = Int(n_head) * head_dim
    var first_row = row * Int(n_queries)
    var scale = 1 / sqrt(Float32(head_dim))
    var q_at = q.unsafe_offset(head * head_dim)

    var n_past = 0
    var n_visible = Int(n_keys)
    var base = Int64(row) * Int64(row_stride)
    comptime if mode == CROSS:
        base = Int64(table[unsafe_offset=row]) * Int64(row_stride)
    comptime if mode == CACHED_SELF:
        n_past = Int(offsets[unsafe_offset=row])
        n_visible = min(n_past + min(query + queries, Int(n_queries)), Int(n_keys))
        for i in range(thread, queries * head_dim, THREADS):
            var new_query = query + i // head_dim
            if new_query < Int(n_queries) and n_past + new_query < Int(n_keys):
                var position = n_past + new_query
                var slot = Int64(table[unsafe_offset=row * Int(n_keys) + position])
                var to = slot * Int64(row_stride)
                to += Int64(position * Int(key_stride) + head * head_dim)
                var at = (first_row + new_query) * Int(q_stride) + i % head_dim
                var key = q_at[unsafe_offset=at + n_state].cast[kv_type]()
                var value = q_at[unsafe_offset=at + 2 * n_state].cast[kv_type]()
                kv[unsafe_offset=Int(keys_at + to) + i % head_dim] = key
                kv[unsafe_offset=Int(values_at + to) + i % head_dim] = value

    var q_frag = Array[SIMD[F32, width], queries](fill=SIMD[F32, width](0))
    comptime for i in range(queries):
        var at = (first_row + min(query + i, Int(n_queries) - 1)) * Int(q_stride)
        q_frag[i] = load[width](q_at, at + channel) * scale
    var row_max = Array[Float32, queries](fill=LOWEST_SCORE)
    var row_sum = Array[Float32, queries](fill=0)
    var acc = Array[SIMD[F32, width], queries](fill=SIMD[F32, width](0))

    var n_each = ceildiv(n_visible, Int(n_splits))
    var start = split * n_each
    var stop = min(start + n_each, n_visible)
    for at in range(start, stop, KEY_GROUPS * UNROLL):
        var keys = Array[SIMD[F32, width], UNROLL](fill=SIMD[F32, width](0))
        var values = Array[SIMD[F32, width], UNROLL](fill=SIMD[F32, width](0))
        comptime for u in range(UNROLL):
            var position = at + u * KEY_GROUPS + group
            position = min(position, stop - 1)
            if mode == CACHED_SELF and position >= n_past:
                var new = (first_row + position - n_past) * Int(q_stride) + channel
                keys[u] = load[width](q_at, new + n_state).cast[kv_type]().cast[F32]()
                values[u] = load[width](q_at, new + 2 * n_state).cast[kv_type]().cast[F32]()
            else:
                var line = base
                comptime if mode == CACHED_SELF:
                    var slot = table[unsafe_offset=row * Int(n_keys) + position]
                    line = Int64(slot) * Int64(row_stride)
                line += Int64(position * Int(key_stride) + head * head_dim + channel)
                keys[u] = load[width](kv, Int(keys_at + line))
                values[u] = load[width](kv, Int(values_at + line))
        comptime for i in range(queries):
            var scores = Array[Float32, UNROLL](fill=0)
            var is_visible = Array[Bool, UNROLL](fill=False)
            var top = row_max[i]
            var last = stop
            comptime if mode == CACHED_SELF:
                last = min(stop, n_past + query + i + 1)
            comptime for u in range(UNROLL):
                is_visible[u] = at + u * KEY_GROUPS + group < last
                scores[u] = sum_over_key_lanes((q_frag[i] * keys[u]).reduce_add())
                if is_visible[u]:
                    top = max(top, scores[u])
            var correction = exp(row_max[i] - top)
            row_max[i] = top
            row_sum[i] *= correction
            acc[i] *= correction
            comptime for u in range(UNROLL):
                var weight = exp(scores[u] - top) if is_visible[u] else Float32(0)
                row_sum[i] += weight
                acc[i] = values[u].fma(SIMD[F32, width](weight), acc[i])

    comptime line = head_dim + 2
    var shared = unsafe_stack_allocation[
        WARPS * queries * line, Float32, alignment=16, address_space=.SHARED
    ]()
    comptime for i in range(queries):
        comptime for step in range(LANES_PER_KEY, WARP_SIZE // 2 + 1, LANES_PER_KEY):
            var other = warp.shuffle_xor(row_max[i], UInt32(step))
            var top = max(row_max[i], other)
            var mine = exp(row_max[i] - top)
            var theirs = exp(other - top)
            row_max[i] = top
            row_sum[i] = row_sum[i] * mine + warp.shuffle_xor(row_sum[i], UInt32(step)) * theirs
            comptime for c in range(width):
                acc[i][c] = (
                    acc[i][c] * mine + warp.shuffle_xor(acc[i][c], UInt32(step)) * theirs
                )
        if Int(lane_id()) < LANES_PER_KEY:
            var part = (i * WARPS + Int(warp_id())) * line
            comptime for c in range(width):
                shared[unsafe_offset=part + channel + c] = acc[i][c]
            shared[unsafe_offset=part + head_dim] = row_max[i]
            shared[unsafe_offset=part + head_dim + 1] = row_sum[i]
    barrier()
    for at in range(thread, queries * head_dim, THREADS):
        var i = at // head_dim
        if query + i >= Int(n_queries):
            return
        var top = LOWEST_SCORE
        comptime for w in range(WARPS):
            top = max(top, shared[unsafe_offset=(i * WARPS + w) * line + head_dim])
        var total = Float32(0)
        var sum = Float32(0)
        comptime for w in range(WARPS):
            var part = (i * WARPS + w) * line
            var weight = exp(shared[unsafe_offset=part + head_dim] - top)
            total += shared[unsafe_offset=part + head_dim + 1] * weight
            sum += shared[unsafe_offset=part + at % head_dim] * weight
        var query_row = first_row + query + i
        if Int(n_splits) == 1:
            output[unsafe_offset=query_row * n_state + head * head_dim + at % head_dim] = (
                sum / total
            ).cast[q_type]()
        else:
            var part = ((query_row * Int(n_head) + head) * Int(n_splits) + split) * line
            partials[unsafe_offset=part + at % head_dim] = sum
            if at % head_dim == 0:
                partials[unsafe_offset=part + head_dim] = top
                partials[unsafe_offset=part + head_dim + 1] = total


def combine_splits_kernel[
    *, out_type: DType, head_dim: Int
](output: DevicePointer[out_type], partials: FloatPointer, n_head: Int32, n_splits: Int32):
    """Combines the splits of a query by each block; blocks: (head, row and query).

    Parameters:
        out_type: Of the output.
        head_dim: Width of a head, and threads of a block.

    Args:
        output: [n_rows * n_queries, n_head, head_dim].
        partials: As `attention_kernel` leaves them.
        n_head: Heads.
        n_splits: Splits of a query.
    """
    launch_dependents()
    wait_on_dependencies()
    comptime line = head_dim + 2
    var channel = Int(thread_idx.x)
    var at = Int(block_idx.y) * Int(n_head) + Int(block_idx.x)
    var top = LOWEST_SCORE
    for s in range(Int(n_splits)):
        top = max(top, partials[unsafe_offset=(at * Int(n_splits) + s) * line + head_dim])
    var total = Float32(0)
    var sum = Float32(0)
    for s in range(Int(n_splits)):
        var part = (at * Int(n_splits) + s) * line
        var weight = exp(partials[unsafe_offset=part + head_dim] - top)
        total += partials[unsafe_offset=part + head_dim + 1] * weight
        sum += partials[unsafe_offset=part + channel] * weight
    output[unsafe_offset=at * head_dim + channel] = (sum / total).cast[out_type]()
