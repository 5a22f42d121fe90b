"""Flash attention of a window to itself in half precision: online softmax on the tensor cores.

A warpgroup holds 64 queries in registers; all warpgroups of a block share the keys and values that
stream through shared memory by TMA. Weights are rounded before they are multiplied with values.
"""
import max.gpu.primitives.warp as warp
from max.gpu import MAX_THREADS_PER_BLOCK_METADATA, block_idx, thread_idx
from max.gpu.compute.mma import wgmma_commit_group_sync, wgmma_fence_aligned
from max.gpu.compute.mma import wgmma_wait_group_sync
from max.gpu.host import DeviceContext, FuncAttribute
from max.gpu.host.nvidia.tma import TMADescriptor
from max.gpu.memory import external_memory
from max.gpu.sync import barrier, syncwarp
from std.math import ceildiv
from std.utils.static_tuple import StaticTuple
from .math import LOWEST_SCORE, exp2, rcp
from .pdl import launch_dependents, pdl_attributes, wait_on_dependencies
from .pointers import F32, DevicePointer
from .tma import fence_mbarrier_init, mbarrier_arrive, mbarrier_expect_tx, mbarrier_init
from .tma import mbarrier_wait, tensor_map, tma_load
from .wgmma import LANES, TILE_K, WARPGROUP, wgmma_descriptor, wgmma_from_registers

comptime HEAD_DIM = 64
"""Width of a head, in all of Whisper."""
comptime GROUP_KEYS = 64
"""Keys that a warpgroup takes in a step."""
comptime N_GROUPS = 2
comptime LOG2_SCALE = Float32(0.125 * 1.4426950408889634)
"""Factor of scores for powers of two: one over the root of HEAD_DIM, times log2 of e."""
comptime MIN_BLOCKS = 2 * DeviceContext.default_device_info.sm_count
"""Blocks that fill the GPU; with fewer, warpgroups split the keys."""


@__llvm_metadata(
    MAX_THREADS_PER_BLOCK_METADATA=StaticTuple[Int32, 1](Int32(WARPGROUP * N_GROUPS)),
    `nvvm.minctasm`=SIMDLength(2),
)
@__llvm_arg_metadata(keys_map, `nvvm.grid_constant`)
def flash_attention_kernel[
    dtype: DType, splits: Int, stages: Int, lag: Int
](
    output: DevicePointer[dtype],
    qkv: DevicePointer[dtype],
    keys_map: TMADescriptor,
    n_ctx: Int32,
    n_head: Int32,
):
    """Computes attention of a block's queries; blocks: (queries, head, row of the batch).

    Each warpgroup has 64 queries of its own, or, with two splits, its own half of the keys.

    Parameters:
        dtype: Of queries, keys, values and output.
        splits: Warpgroups that share queries and split the keys: 1 or 2.
        stages: Steps of keys and values in shared memory at once.
        lag: Steps after which a stage that was read is filled again.

    Args:
        output: [n_batch, n_ctx, n_head * HEAD_DIM].
        qkv: [n_batch, n_ctx, 3 * n_head * HEAD_DIM].
        keys_map: Map of qkv in boxes of a step's keys.
        n_ctx: Positions; with splits more than GROUP_KEYS, so that each warpgroup has a key.
        n_head: Heads.
    """
    comptime step_keys = GROUP_KEYS * splits
    comptime stage_size = 2 * step_keys * TILE_K
    comptime queries = 64 * N_GROUPS // splits
    var n_state = n_head * HEAD_DIM
    var stride = 3 * n_state
    var thread = Int32(thread_idx.x)
    var start = Int(block_idx.z) * Int(n_ctx)
    var head = Int32(block_idx.y) * HEAD_DIM
    var q = qkv.unsafe_offset(start * Int(stride) + Int(head))
    var shared = external_memory[Scalar[dtype], address_space=.SHARED, alignment=1024]()
    var full = shared.unsafe_offset(stages * stage_size).unsafe_bitcast[UInt64]()
    var empty = full.unsafe_offset(stages)
    var n_steps = ceildiv(n_ctx, Int32(step_keys))
    var group = thread // WARPGROUP
    var own = Int(group) * GROUP_KEYS if splits > 1 else 0

    @__parameter
    @always_inline
    def load_stage(step: Int32, at: Int32):
        """Starts the loads of a step's keys and values into a stage."""
        var here = full.unsafe_offset(Int(at))
        mbarrier_expect_tx(here, Int32(stage_size * 2))
        comptime for part in range(2):
            tma_load(
                shared.unsafe_offset(Int(at * Int32(stage_size)) + part * step_keys * TILE_K),
                keys_map,
                here,
                column=n_state * Int32(part + 1) + head,
                row=step * Int32(step_keys),
                batch=Int32(block_idx.z),
            )

    if thread == 0:
        comptime for i in range(stages):
            mbarrier_init(full.unsafe_offset(i), 1)
            mbarrier_init(empty.unsafe_offset(i), N_GROUPS)
        fence_mbarrier_init()
    barrier()
    wait_on_dependencies()
    if thread == 0:
        comptime for i in range(stages):
            if Int32(i) < n_steps:
                load_stage(Int32(i), Int32(i))
    syncwarp()

    var lane = thread % LANES
    var warp_of = thread // LANES if splits == 1 else thread % WARPGROUP // LANES
    var first = Int32(block_idx.x) * Int32(queries) + warp_of * 16 + lane // 4
    var q_frag = Array[SIMD[dtype, 8], HEAD_DIM // 16](fill=SIMD[dtype, 8](0))
    comptime for k in range(HEAD_DIM // 16):
        comptime for part in range(4):
            var row = min(first + Int32(part % 2 * 8), n_ctx - 1)
            var pair = q.unsafe_load[width=2, alignment=4](
                Int(row * stride + lane % 4 * 2) + k * 16 + part // 2 * 8
            )
            q_frag[k][part * 2] = pair[0]
            q_frag[k][part * 2 + 1] = pair[1]

    var row_max = SIMD[F32, 2](LOWEST_SCORE)
    var row_sum = SIMD[F32, 2](0)
    var acc = SIMD[F32, 32](0)
    var scores = SIMD[F32, 32](0)
    var stage = Int32(0)
    var parity = Int32(0)
    var oldest = Int32(0)
    var oldest_parity = Int32(0)

    @__parameter
    @always_inline
    def issue_qk(at: Int32):
        """Issues the scores of a stage's keys, which are valid once the warpgroup has waited."""
        scores = SIMD[F32, 32](0)
        var keys = wgmma_descriptor[dtype](
            shared.unsafe_offset(Int(at * Int32(stage_size)) + own * TILE_K)
        )
        comptime for k in range(HEAD_DIM // 16):
            scores = wgmma_from_registers[dtype, transposed=False](q_frag[k], keys + k * 32, scores)

    @__parameter
    @always_inline
    def softmax_pv[is_last: Bool](step: Int32):
        """Takes a step of the online softmax, adds weighted values, and issues the next scores."""
        comptime if is_last:
            comptime for i in range(32):
                var key = step * Int32(step_keys) + Int32(own + i // 4 * 8 + i % 2) + lane % 4 * 2
                if key >= n_ctx:
                    scores[i] = LOWEST_SCORE
        else:
            if step >= Int32(lag):
                if thread == 0 and step + Int32(stages - lag) < n_steps:
                    mbarrier_wait(empty.unsafe_offset(Int(oldest)), oldest_parity)
                    load_stage(step + Int32(stages - lag), oldest)
                oldest += 1
                if oldest == Int32(stages):
                    oldest = 0
                    oldest_parity ^= 1
            syncwarp()
        var new_max = row_max
        comptime for i in range(32):
            new_max[i // 2 % 2] = max(new_max[i // 2 % 2], scores[i])
        comptime for row in range(2):
            new_max[row] = max(new_max[row], warp.shuffle_xor(new_max[row], 1))
            new_max[row] = max(new_max[row], warp.shuffle_xor(new_max[row], 2))
        comptime for row in range(2):
            var correction = exp2((row_max[row] - new_max[row]) * LOG2_SCALE)
            var base = new_max[row] * LOG2_SCALE
            row_sum[row] *= correction
            comptime for j in range(8):
                comptime for i in range(j * 4 + row * 2, j * 4 + row * 2 + 2):
                    acc[i] *= correction
                    scores[i] = exp2(scores[i].fma(LOG2_SCALE, -base))
                    row_sum[row] += scores[i]
        row_max = new_max
        var weights = scores.cast[dtype]()
        var current = stage
        stage += 1
        if stage == Int32(stages):
            stage = 0
            parity ^= 1
        comptime if not is_last:
            mbarrier_wait(full.unsafe_offset(Int(stage)), parity)
        wgmma_fence_aligned()
        var values = wgmma_descriptor[dtype](
            shared.unsafe_offset(Int(current * Int32(stage_size)) + (step_keys + own) * TILE_K)
        )
        comptime for k in range(GROUP_KEYS // 16):
            acc = wgmma_from_registers[dtype, transposed=True](
                weights.slice[8, offset = k * 8](), values + k * 16 * TILE_K * 2, acc
            )
        comptime if not is_last:
            issue_qk(stage)
        wgmma_commit_group_sync()
        wgmma_wait_group_sync()
        if thread % WARPGROUP == 0:
            mbarrier_arrive(empty.unsafe_offset(Int(current)), 0)

    mbarrier_wait(full, 0)
    wgmma_fence_aligned()
    issue_qk(0)
    wgmma_commit_group_sync()
    wgmma_wait_group_sync()
    for step in range(n_steps - 1):
        softmax_pv[is_last=False](step)
    softmax_pv[is_last=True](n_steps - 1)
    launch_dependents()

    comptime if splits > 1:
        # The second warpgroup hands over its part in shared memory; the stages are free now.
        comptime line_size = 36
        var partner = shared.unsafe_bitcast[Float32]().unsafe_offset(
            Int(thread % WARPGROUP) * line_size
        )
        barrier()
        if thread >= WARPGROUP:
            comptime for i in range(0, 32, 4):
                partner.unsafe_store[width=4, alignment=16](i, acc.slice[4, offset=i]())
            partner.unsafe_store[width=4, alignment=16](32, row_max.join(row_sum))
        barrier()
        if thread >= WARPGROUP:
            return
        comptime for row in range(2):
            var top = max(row_max[row], partner[unsafe_offset=32 + row])
            var mine = exp2((row_max[row] - top) * LOG2_SCALE)
            var theirs = exp2((partner[unsafe_offset=32 + row] - top) * LOG2_SCALE)
            row_sum[row] = row_sum[row] * mine + partner[unsafe_offset=34 + row] * theirs
            comptime for j in range(8):
                comptime for i in range(j * 4 + row * 2, j * 4 + row * 2 + 2):
                    acc[i] = acc[i] * mine + partner[unsafe_offset=i] * theirs

    comptime for row in range(2):
        row_sum[row] += warp.shuffle_xor(row_sum[row], 1)
        row_sum[row] += warp.shuffle_xor(row_sum[row], 2)
        var query = first + Int32(row * 8)
        if query < n_ctx:
            var inverse = rcp(row_sum[row])
            var at = (start + Int(query)) * Int(n_state) + Int(head + lane % 4 * 2)
            comptime for j in range(HEAD_DIM // 8):
                var pair = SIMD[F32, 2](acc[j * 4 + row * 2], acc[j * 4 + row * 2 + 1])
                output.unsafe_store[width=2, alignment=4](
                    at + j * 8, (pair * inverse).cast[dtype]()
                )


def flash_attention[
    dtype: DType, //
](
    output: DevicePointer[dtype],
    qkv: DevicePointer[dtype],
    n_batch: Int,
    n_ctx: Int,
    n_head: Int,
    ctx: DeviceContext,
) raises:
    """Launches attention of each window to itself.

    Parameters:
        dtype: Either float16 or bfloat16.

    Args:
        output: [n_batch, n_ctx, n_head * HEAD_DIM].
        qkv: Queries, keys and values side by side, [n_batch, n_ctx, 3 * n_head * HEAD_DIM].
        n_batch: Windows.
        n_ctx: Positions of a window.
        n_head: Heads.
        ctx: Stream.
    """

    @__parameter
    def launch[splits: Int, stages: Int, lag: Int]() raises:
        comptime bytes = stages * (2 * GROUP_KEYS * splits * TILE_K * 2 + 16)
        ctx.enqueue_function[flash_attention_kernel[dtype, splits, stages, lag]](
            output,
            qkv,
            tensor_map(
                qkv,
                n_batch=n_batch,
                n_rows=n_ctx,
                n_columns=3 * n_head * HEAD_DIM,
                box_rows=GROUP_KEYS * splits,
                ctx=ctx,
            ),
            Int32(n_ctx),
            Int32(n_head),
            grid_dim=(ceildiv(n_ctx, 64 * N_GROUPS // splits), n_head, n_batch),
            block_dim=WARPGROUP * N_GROUPS,
            shared_mem_bytes=bytes,
            func_attribute=FuncAttribute.MAX_DYNAMIC_SHARED_SIZE_BYTES(UInt32(bytes)),
            attributes=pdl_attributes(),
        )

    # So few keys are not split: a warpgroup without keys would have no largest score.
    if n_ctx <= GROUP_KEYS or ceildiv(n_ctx, 128) * n_head * n_batch >= MIN_BLOCKS:
        launch[splits=1, stages=6, lag=2]()
    else:
        launch[splits=2, stages=3, lag=1]()
