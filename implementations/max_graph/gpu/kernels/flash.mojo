"""Attention of a window to itself in half precision, on the tensor cores, in one pass over the keys.

A group of four warps holds 64 queries in registers; all groups of a block share the keys and values
that stream through shared memory. The weights are rounded before they are multiplied.
"""
import max.gpu.primitives.warp as warp
from max.gpu import block_idx, thread_idx
from max.gpu.compute.mma import (
    wgmma_commit_group_sync,
    wgmma_fence_aligned,
    wgmma_wait_group_sync,
)
from max.gpu.host import DeviceContext, FuncAttribute
from max.gpu.memory import (
    async_copy_commit_group,
    async_copy_wait_group,
    external_memory,
    fence_async_view_proxy,
)
from max.gpu.sync import barrier
from std.math import ceildiv
from .launch import early, let_next_start, wait_for_previous
from .pointers import F32, Memory
from .tensor_cores import (
    CHUNK,
    GROUP,
    ROW,
    chunk_at,
    describe,
    fetch_chunk,
    multiply_held,
    one_over,
    power_of_two,
)

comptime CHANNELS = 64
"""The only size of a head."""
comptime KEYS = 64
"""Keys that are taken at once."""
comptime STAGES = 3
comptime LOWEST = Float32(-1e30)
comptime TO_LOG2 = Float32(0.125 * 1.4426950408889634)
"""What scores are multiplied by, for powers of two: one over the root of `CHANNELS`, log2 of e."""
comptime ENOUGH_BLOCKS = 264


def flash_kernel[
    dtype: DType, groups: Int, tiles: Int
](into: Memory[dtype], qkv: Memory[dtype], n_ctx: Int32, n_head: Int32):
    """Blocks: (queries, head, row of the batch).

    Each group has 64 queries of its own, or, with two tiles of keys, its own part of the keys.
    """
    comptime keys_each = KEYS * tiles
    comptime stage_size = 2 * keys_each * ROW
    comptime queries = 64 * groups // tiles
    comptime at_once = GROUP * groups // CHUNK
    var n_state = n_head * CHANNELS
    var stride = 3 * n_state
    var thread = Int32(thread_idx.x)
    var start = Int(block_idx.z) * Int(n_ctx)
    var head = Int(block_idx.y) * CHANNELS
    var q = qkv.unsafe_offset(start * Int(stride) + head)
    var shared = external_memory[Scalar[dtype], address_space=.SHARED, alignment=1024]()
    var line = thread // CHUNK
    var to = chunk_at(line, thread % CHUNK)
    var source = line * stride + n_state + thread % CHUNK * CHUNK
    var n_steps = ceildiv(n_ctx, Int32(keys_each))
    var own = Int(thread // GROUP) * KEYS if tiles > 1 else 0
    wait_for_previous()

    @__parameter
    @always_inline
    def fetch(step: Int32):
        if step < n_steps:
            var stage = shared.unsafe_offset(Int(step % STAGES * Int32(stage_size)))
            comptime for i in range(keys_each // at_once):
                var first_key = step * Int32(keys_each) + Int32(i * at_once)
                var at = source + first_key * stride
                var there = first_key + line < n_ctx
                fetch_chunk(stage, to + Int32(i * at_once * ROW), q, at, there)
                fetch_chunk(stage, to + Int32((keys_each + i * at_once) * ROW), q, at + n_state, there)
        async_copy_commit_group()

    comptime for step in range(STAGES - 1):
        fetch(Int32(step))

    var lane = thread % 32
    var warp_of = thread // 32 if tiles == 1 else thread % GROUP // 32
    var first = Int32(block_idx.x) * Int32(queries) + warp_of * 16 + lane // 4
    var asked = Array[SIMD[dtype, 8], CHANNELS // 16](fill=SIMD[dtype, 8](0))
    comptime for k in range(CHANNELS // 16):
        comptime for part in range(4):
            var row = min(first + Int32(part % 2 * 8), n_ctx - 1)
            var pair = q.unsafe_load[width=2, alignment=4](
                Int(row * stride + lane % 4 * 2) + k * 16 + part // 2 * 8
            )
            asked[k][part * 2] = pair[0]
            asked[k][part * 2 + 1] = pair[1]

    var tops = SIMD[F32, 2](LOWEST)
    var totals = SIMD[F32, 2](0)
    var found = SIMD[F32, 32](0)

    @__parameter
    @always_inline
    def take[is_last: Bool](step: Int32):
        async_copy_wait_group(Int32(STAGES - 2))
        fence_async_view_proxy()
        barrier()
        comptime if not is_last:
            fetch(step + STAGES - 1)
        var stage = shared.unsafe_offset(Int(step % STAGES * Int32(stage_size)))
        var keys = describe[dtype](stage.unsafe_offset(own * ROW))
        var scores = SIMD[F32, 32](0)
        wgmma_fence_aligned()
        comptime for k in range(CHANNELS // 16):
            scores = multiply_held[dtype, False](asked[k], keys + k * 32, scores)
        wgmma_commit_group_sync()
        wgmma_wait_group_sync()
        comptime if is_last:
            comptime for i in range(32):
                var key = step * Int32(keys_each) + Int32(own + i // 4 * 8 + i % 2) + lane % 4 * 2
                if key >= n_ctx:
                    scores[i] = LOWEST
        var news = tops
        comptime for i in range(32):
            news[i // 2 % 2] = max(news[i // 2 % 2], scores[i])
        comptime for row in range(2):
            news[row] = max(news[row], warp.shuffle_xor(news[row], 1))
            news[row] = max(news[row], warp.shuffle_xor(news[row], 2))
        comptime for row in range(2):
            var fading = power_of_two((tops[row] - news[row]) * TO_LOG2)
            var base = news[row] * TO_LOG2
            totals[row] *= fading
            comptime for j in range(8):
                comptime for i in range(j * 4 + row * 2, j * 4 + row * 2 + 2):
                    scores[i] = power_of_two(scores[i].fma(TO_LOG2, -base))
                    totals[row] += scores[i]
                    found[i] *= fading
        tops = news
        var weights = scores.cast[dtype]()
        var values = describe[dtype](stage.unsafe_offset((keys_each + own) * ROW))
        wgmma_fence_aligned()
        comptime for k in range(KEYS // 16):
            found = multiply_held[dtype, True](
                weights.slice[8, offset = k * 8](), values + k * 16 * ROW * 2, found
            )
        wgmma_commit_group_sync()
        wgmma_wait_group_sync()

    for step in range(n_steps - 1):
        take[False](step)
    take[True](n_steps - 1)
    let_next_start()

    comptime if tiles > 1:
        # The second group hands over what it found; the stages are free for that now.
        comptime line_size = 36
        var handed = shared.unsafe_bitcast[Float32]().unsafe_offset(
            Int(thread % GROUP) * line_size
        )
        barrier()
        if thread >= GROUP:
            comptime for i in range(0, 32, 4):
                handed.unsafe_store[width=4, alignment=16](i, found.slice[4, offset=i]())
            handed.unsafe_store[width=4, alignment=16](32, tops.join(totals))
        barrier()
        if thread >= GROUP:
            return
        comptime for row in range(2):
            var top = max(tops[row], handed[unsafe_offset=32 + row])
            var mine = power_of_two((tops[row] - top) * TO_LOG2)
            var theirs = power_of_two((handed[unsafe_offset=32 + row] - top) * TO_LOG2)
            totals[row] = totals[row] * mine + handed[unsafe_offset=34 + row] * theirs
            comptime for j in range(8):
                comptime for i in range(j * 4 + row * 2, j * 4 + row * 2 + 2):
                    found[i] = found[i] * mine + handed[unsafe_offset=i] * theirs

    comptime for row in range(2):
        totals[row] += warp.shuffle_xor(totals[row], 1)
        totals[row] += warp.shuffle_xor(totals[row], 2)
        var query = first + Int32(row * 8)
        if query < n_ctx:
            var share = one_over(totals[row])
            var at = (start + Int(query)) * Int(n_state) + head + Int(lane % 4 * 2)
            comptime for j in range(CHANNELS // 8):
                var pair = SIMD[F32, 2](found[j * 4 + row * 2], found[j * 4 + row * 2 + 1])
                into.unsafe_store[width=2, alignment=4](at + j * 8, (pair * share).cast[dtype]())


def flash_attention[
    dtype: DType
](
    into: Memory[dtype],
    qkv: Memory[dtype],
    n_batch: Int,
    n_ctx: Int,
    n_head: Int,
    ctx: DeviceContext,
) raises:
    """[n_batch, n_ctx, 3 * n_state] to [n_batch, n_ctx, n_state], heads of 64 channels."""

    @__parameter
    def run[groups: Int, tiles: Int]() raises:
        comptime bytes = STAGES * 2 * KEYS * tiles * ROW * 2
        ctx.enqueue_function[flash_kernel[dtype, groups, tiles]](
            into,
            qkv,
            Int32(n_ctx),
            Int32(n_head),
            grid_dim=(ceildiv(n_ctx, 64 * groups // tiles), n_head, n_batch),
            block_dim=GROUP * groups,
            shared_mem_bytes=bytes,
            func_attribute=FuncAttribute.MAX_DYNAMIC_SHARED_SIZE_BYTES(UInt32(bytes)),
            attributes=early(),
        )

    if ceildiv(n_ctx, 128) * n_head * n_batch >= ENOUGH_BLOCKS:
        run[2, 1]()
    else:
        run[2, 2]()
