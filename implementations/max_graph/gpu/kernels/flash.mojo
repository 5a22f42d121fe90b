"""Attention of a window to itself in half precision, on the tensor cores, in one pass over the keys.

A group of four warps holds 64 queries in registers; all groups of a block share the keys and values
that stream through shared memory. The weights are rounded before they are multiplied.
"""
import max.gpu.primitives.warp as warp
from max.gpu import MAX_THREADS_PER_BLOCK_METADATA, block_idx, thread_idx
from max.gpu.compute.mma import (
    wgmma_commit_group_sync,
    wgmma_fence_aligned,
    wgmma_wait_group_sync,
)
from max.gpu.host import DeviceContext, FuncAttribute
from max.gpu.host.nvidia.tma import TMADescriptor
from max.gpu.memory import external_memory
from max.gpu.sync import barrier, syncwarp
from std.math import ceildiv
from std.utils.static_tuple import StaticTuple
from .bulk import (
    arrive_at,
    describe_tensor,
    expect_bytes,
    fetch_box,
    prepare_barrier,
    show_barriers,
    wait_at,
)
from .launch import early, let_next_start, wait_for_previous
from .pointers import F32, Memory
from .tensor_cores import GROUP, ROW, describe, multiply_held, one_over, power_of_two

comptime CHANNELS = 64
"""The only size of a head."""
comptime KEYS = 64
"""Keys that a group takes at once."""
comptime GROUPS = 2
comptime LOWEST = Float32(-1e30)
comptime TO_LOG2 = Float32(0.125 * 1.4426950408889634)
"""What scores are multiplied by, for powers of two: one over the root of `CHANNELS`, log2 of e."""
comptime ENOUGH_BLOCKS = 264
"""Two for each multiprocessor of the largest GPUs."""


@__llvm_metadata(
    MAX_THREADS_PER_BLOCK_METADATA=StaticTuple[Int32, 1](Int32(GROUP * GROUPS)),
    `nvvm.minctasm`=SIMDLength(2),
)
@__llvm_arg_metadata(keys_map, `nvvm.grid_constant`)
def flash_kernel[
    dtype: DType, splits: Int, stages: Int, lag: Int
](into: Memory[dtype], qkv: Memory[dtype], keys_map: TMADescriptor, n_ctx: Int32, n_head: Int32):
    """Blocks: (queries, head, row of the batch).

    Each group has 64 queries of its own, or, with two splits, its own half of the keys. The first
    thread has a stage filled again `lag` steps after it was read.
    """
    comptime keys_each = KEYS * splits
    comptime stage_size = 2 * keys_each * ROW
    comptime queries = 64 * GROUPS // splits
    var n_state = n_head * CHANNELS
    var stride = 3 * n_state
    var thread = Int32(thread_idx.x)
    var start = Int(block_idx.z) * Int(n_ctx)
    var head = Int32(block_idx.y) * CHANNELS
    var q = qkv.unsafe_offset(start * Int(stride) + Int(head))
    var shared = external_memory[Scalar[dtype], address_space=.SHARED, alignment=1024]()
    var full = shared.unsafe_offset(stages * stage_size).unsafe_bitcast[UInt64]()
    var empty = full.unsafe_offset(stages)
    var n_steps = ceildiv(n_ctx, Int32(keys_each))
    var group = thread // GROUP
    var own = Int(group) * KEYS if splits > 1 else 0

    @__parameter
    @always_inline
    def fetch(step: Int32, at: Int32):
        var here = full.unsafe_offset(Int(at))
        expect_bytes(here, Int32(stage_size * 2))
        comptime for part in range(2):
            fetch_box[dtype, 1](
                shared.unsafe_offset(Int(at * Int32(stage_size)) + part * keys_each * ROW),
                keys_map,
                here,
                n_state * Int32(part + 1) + head,
                step * Int32(keys_each),
                Int32(block_idx.z),
                0,
            )

    if thread == 0:
        comptime for i in range(stages):
            prepare_barrier(full.unsafe_offset(i), 1)
            prepare_barrier(empty.unsafe_offset(i), GROUPS)
        show_barriers()
    barrier()
    wait_for_previous()
    if thread == 0:
        comptime for i in range(stages):
            if Int32(i) < n_steps:
                fetch(Int32(i), Int32(i))
    syncwarp()

    var lane = thread % 32
    var warp_of = thread // 32 if splits == 1 else thread % GROUP // 32
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
    var scores = SIMD[F32, 32](0)
    var stage = Int32(0)
    var parity = Int32(0)
    var oldest = Int32(0)
    var oldest_parity = Int32(0)

    @__parameter
    @always_inline
    def ask(at: Int32):
        """Scores of the stage's keys; there only after the group has waited."""
        scores = SIMD[F32, 32](0)
        var keys = describe[dtype](shared.unsafe_offset(Int(at * Int32(stage_size)) + own * ROW))
        comptime for k in range(CHANNELS // 16):
            scores = multiply_held[dtype, False](asked[k], keys + k * 32, scores)

    @__parameter
    @always_inline
    def take[is_last: Bool](step: Int32):
        """Weigh the values of a step whose scores are there, and ask for the next one's scores."""
        comptime if is_last:
            comptime for i in range(32):
                var key = step * Int32(keys_each) + Int32(own + i // 4 * 8 + i % 2) + lane % 4 * 2
                if key >= n_ctx:
                    scores[i] = LOWEST
        else:
            if step >= Int32(lag):
                if thread == 0 and step + Int32(stages - lag) < n_steps:
                    wait_at(empty.unsafe_offset(Int(oldest)), oldest_parity)
                    fetch(step + Int32(stages - lag), oldest)
                oldest += 1
                if oldest == Int32(stages):
                    oldest = 0
                    oldest_parity ^= 1
            syncwarp()
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
                    found[i] *= fading
                    scores[i] = power_of_two(scores[i].fma(TO_LOG2, -base))
                    totals[row] += scores[i]
        tops = news
        var weights = scores.cast[dtype]()
        var current = stage
        stage += 1
        if stage == Int32(stages):
            stage = 0
            parity ^= 1
        comptime if not is_last:
            wait_at(full.unsafe_offset(Int(stage)), parity)
        wgmma_fence_aligned()
        var values = describe[dtype](
            shared.unsafe_offset(Int(current * Int32(stage_size)) + (keys_each + own) * ROW)
        )
        comptime for k in range(KEYS // 16):
            found = multiply_held[dtype, True](
                weights.slice[8, offset = k * 8](), values + k * 16 * ROW * 2, found
            )
        comptime if not is_last:
            ask(stage)
        wgmma_commit_group_sync()
        wgmma_wait_group_sync()
        if thread % GROUP == 0:
            arrive_at(empty.unsafe_offset(Int(current)), 0)

    wait_at(full, 0)
    wgmma_fence_aligned()
    ask(0)
    wgmma_commit_group_sync()
    wgmma_wait_group_sync()
    for step in range(n_steps - 1):
        take[False](step)
    take[True](n_steps - 1)
    let_next_start()

    comptime if splits > 1:
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
            var at = (start + Int(query)) * Int(n_state) + Int(head + lane % 4 * 2)
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
    def run[splits: Int, stages: Int, lag: Int]() raises:
        comptime bytes = stages * (2 * KEYS * splits * ROW * 2 + 16)
        ctx.enqueue_function[flash_kernel[dtype, splits, stages, lag]](
            into,
            qkv,
            describe_tensor(qkv, n_batch, n_ctx, 3 * n_head * CHANNELS, KEYS * splits, ctx),
            Int32(n_ctx),
            Int32(n_head),
            grid_dim=(ceildiv(n_ctx, 64 * GROUPS // splits), n_head, n_batch),
            block_dim=GROUP * GROUPS,
            shared_mem_bytes=bytes,
            func_attribute=FuncAttribute.MAX_DYNAMIC_SHARED_SIZE_BYTES(UInt32(bytes)),
            attributes=early(),
        )

    # The keys of fewer than a group's are not split: a group without keys has no largest score.
    if n_ctx <= KEYS or ceildiv(n_ctx, 128) * n_head * n_batch >= ENOUGH_BLOCKS:
        run[1, 6, 2]()
    else:
        run[2, 3, 1]()
