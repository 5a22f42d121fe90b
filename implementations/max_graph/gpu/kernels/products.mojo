"""Products of the encoder in half precision, on the tensor cores, with all that follows them.

Bias, GELU, residual and the layer norm before the next product are added to the sums in registers;
for the norm the blocks of a cluster, which have whole rows between them, tell each other moments.
The rows may be frames of a convolution, found with their neighbours where they lie.
"""
import max.gpu.primitives.warp as warp
from max.gpu import MAX_THREADS_PER_BLOCK_METADATA, block_idx, thread_idx
from max.gpu.compute.mma import (
    wgmma_commit_group_sync,
    wgmma_fence_aligned,
    wgmma_wait_group_sync,
)
from max.gpu.host.nvidia.tma import TMADescriptor
from max.gpu.memory import external_memory
from max.gpu.sync import barrier, syncwarp
from std.math import ceildiv, rsqrt
from std.utils.static_tuple import StaticTuple
from .bulk import (
    arrive_at,
    arrive_at_cluster,
    expect_bytes,
    fetch_box,
    prepare_barrier,
    show_barriers,
    tell,
    wait_at,
    wait_for_cluster,
)
from .launch import let_next_start, wait_for_previous
from .pointers import F32, Floats, Memory, load
from .sums import store_line
from .tensor_cores import GROUP, ROW, describe, multiply_tiles, quick_gelu


@__llvm_metadata(
    MAX_THREADS_PER_BLOCK_METADATA=StaticTuple[Int32, 1](Int32(GROUP * groups)),
    `nvvm.minctasm`=SIMDLength(blocks_each),
)
@__llvm_arg_metadata(rows_map, `nvvm.grid_constant`)
@__llvm_arg_metadata(matrix_map, `nvvm.grid_constant`)
def product_kernel[
    dtype: DType,
    out_type: DType,
    norm_type: DType,
    has_gelu: Bool,
    has_residual: Bool,
    has_norm: Bool,
    keeps: Bool,
    groups: Int,
    columns: Int,
    stages: Int,
    across: Int,
    lag: Int,
    blocks_each: Int,
](
    into: Memory[out_type],
    normed: Memory[norm_type],
    rows_map: TMADescriptor,
    matrix_map: TMADescriptor,
    bias: Floats,
    residual: Floats,
    norm_weight: Floats,
    norm_bias: Floats,
    n_rows: Int32,
    n_in: Int32,
    n_out: Int32,
    n_residual_rows: Int32,
    n_taps: Int32,
    stride: Int32,
):
    """Blocks: (columns, rows, batch), in clusters of `across` that share their rows.

    So many stages, steps of 64 inputs, are in shared memory at once. The first thread has a stage
    filled again `lag` steps after it was read; the blocks of a cluster take turns in fetching rows
    for all. n_out is a multiple of `columns` times `across`.
    """
    comptime rows = 64 * groups
    comptime stage_size = (rows + columns) * ROW
    var thread = Int32(thread_idx.x)
    var shared = external_memory[Scalar[dtype], address_space=.SHARED, alignment=1024]()
    var full = shared.unsafe_offset(stages * stage_size).unsafe_bitcast[UInt64]()
    var empty = full.unsafe_offset(stages)
    var told = empty.unsafe_offset(stages)
    var moments = told.unsafe_offset(2).unsafe_bitcast[Float32]()
    var mine = Int32(block_idx.x) % Int32(across)
    var left = Int32(block_idx.x) * Int32(columns)
    var top = Int32(block_idx.y) * Int32(rows)
    var batch = Int32(block_idx.z)
    var n_steps = ceildiv(n_in, ROW) * n_taps
    if thread == 0:
        comptime for i in range(stages):
            prepare_barrier(full.unsafe_offset(i), 1)
            prepare_barrier(empty.unsafe_offset(i), Int32(groups * across))
        prepare_barrier(told, 1)
        show_barriers()
    comptime if across > 1:
        arrive_at_cluster()
        wait_for_cluster()
    else:
        barrier()

    # What the first thread fetches next.
    var fetched_tap = Int32(0)
    var fetched_k = Int32(0)

    @__parameter
    @always_inline
    def fetch[with_matrix: Bool, with_rows: Bool](step: Int32, at: Int32):
        var tile = shared.unsafe_offset(Int(at * Int32(stage_size)))
        var here = full.unsafe_offset(Int(at))
        comptime if with_matrix:
            expect_bytes(here, Int32(stage_size * 2))
            var column = fetched_tap * n_in + fetched_k
            fetch_box[dtype, 1](tile.unsafe_offset(rows * ROW), matrix_map, here, column, left, 0, 0)
        comptime if with_rows:
            if step % Int32(across) == mine:
                var shift = fetched_tap - n_taps // 2 + stride
                fetch_box[dtype, across](
                    tile,
                    rows_map,
                    here,
                    shift % stride * n_in + fetched_k,
                    top + shift // stride - 1,
                    batch,
                    Int32((1 << across) - 1),
                )
        fetched_k += ROW
        if fetched_k >= n_in:
            fetched_k = 0
            fetched_tap += 1

    if thread == 0:
        comptime for i in range(stages):
            if Int32(i) < n_steps:
                fetch[True, False](Int32(i), Int32(i))
        wait_for_previous()
        fetched_tap = 0
        fetched_k = 0
        comptime for i in range(stages):
            if Int32(i) < n_steps:
                fetch[False, True](Int32(i), Int32(i))
        comptime if has_norm and across > 1:
            expect_bytes(told, Int32(rows * across * 8))
    syncwarp()
    var group = thread // GROUP
    var lane = thread % 32
    var stage = Int32(0)
    var parity = Int32(0)
    var oldest = Int32(0)
    var oldest_parity = Int32(0)
    var other = thread % GROUP
    var sums = SIMD[F32, columns // 2](0)
    for step in range(n_steps):
        if step >= Int32(lag):
            if thread == 0 and step + Int32(stages - lag) < n_steps:
                wait_at(empty.unsafe_offset(Int(oldest)), oldest_parity)
                fetch[True, True](step + Int32(stages - lag), oldest)
            oldest += 1
            if oldest == Int32(stages):
                oldest = 0
                oldest_parity ^= 1
        syncwarp()
        wait_at(full.unsafe_offset(Int(stage)), parity)
        var tile = shared.unsafe_offset(Int(stage * Int32(stage_size)))
        wgmma_fence_aligned()
        multiply_tiles[dtype, columns](
            describe[dtype](tile.unsafe_offset(Int(group * 64 * ROW))),
            describe[dtype](tile.unsafe_offset(rows * ROW)),
            sums,
        )
        wgmma_commit_group_sync()
        wgmma_wait_group_sync()
        if other < Int32(across):
            arrive_at(empty.unsafe_offset(Int(stage)), other)
        stage += 1
        if stage == Int32(stages):
            stage = 0
            parity ^= 1
    let_next_start()
    comptime if across > 1:
        arrive_at_cluster()
    wait_for_previous()
    var line = group * 64 + thread % GROUP // 32 * 16 + lane // 4
    var first = left + lane % 4 * 2
    var biases = bias.unsafe_offset(Int(first))
    var scales = norm_weight.unsafe_offset(Int(first))
    var shifts = norm_bias.unsafe_offset(Int(first))
    comptime for half in range(2):
        var row = top + line + Int32(half * 8)
        var there = residual.unsafe_offset(
            Int((batch * n_rows + min(row, n_rows - 1)) % n_residual_rows) * Int(n_out) + Int(first)
        )
        comptime for j in range(columns // 8):
            comptime at = j * 4 + half * 2
            var pair = SIMD[F32, 2](sums[at], sums[at + 1]) + load[2](biases, j * 8)
            comptime if has_gelu:
                pair[0] = quick_gelu(pair[0])
                pair[1] = quick_gelu(pair[1])
            comptime if has_residual:
                pair += load[2](there, j * 8)
            sums[at] = pair[0]
            sums[at + 1] = pair[1]
        comptime if keeps:
            var to = into.unsafe_offset(Int(batch * n_rows + row) * Int(n_out) + Int(left))
            store_line[out_type, columns // 2, half](to, sums, lane, row < n_rows)

    comptime if has_norm:
        var means = SIMD[F32, 2](0)
        var squares = SIMD[F32, 2](0)
        comptime for half in range(2):
            comptime for j in range(columns // 8):
                means[half] += sums[j * 4 + half * 2] + sums[j * 4 + half * 2 + 1]
            means[half] += warp.shuffle_xor(means[half], 1)
            means[half] += warp.shuffle_xor(means[half], 2)
            means[half] *= Float32(1) / Float32(columns)
            comptime for j in range(columns // 8):
                squares[half] += (sums[j * 4 + half * 2] - means[half]) ** 2
                squares[half] += (sums[j * 4 + half * 2 + 1] - means[half]) ** 2
            squares[half] += warp.shuffle_xor(squares[half], 1)
            squares[half] += warp.shuffle_xor(squares[half], 2)
            comptime if across > 1:
                if lane % 4 == 0:
                    var place = moments.unsafe_offset(
                        Int((mine * Int32(rows) + line + Int32(half * 8)) * 2)
                    )
                    comptime for i in range(across):
                        tell(place, told, Int32(i), means[half], squares[half])
        comptime if across > 1:
            wait_at(told, 0)
        comptime for half in range(2):
            var mean = means[half]
            var total = squares[half]
            comptime if across > 1:
                var found = Array[Float32, across * 2](fill=0)
                mean = 0
                comptime for i in range(across):
                    var at = Int((Int32(i) * Int32(rows) + line + Int32(half * 8)) * 2)
                    found[2 * i] = moments[unsafe_offset=at]
                    found[2 * i + 1] = moments[unsafe_offset=at + 1]
                    mean += found[2 * i]
                mean *= Float32(1) / Float32(across)
                total = 0
                comptime for i in range(across):
                    total += found[2 * i + 1] + (found[2 * i] - mean) ** 2 * Float32(columns)
            var scale = rsqrt(total / Float32(columns * across) + 1e-5)
            comptime for j in range(columns // 8):
                comptime at = j * 4 + half * 2
                var pair = (SIMD[F32, 2](sums[at], sums[at + 1]) - mean) * scale
                pair = pair * load[2](scales, j * 8) + load[2](shifts, j * 8)
                sums[at] = pair[0]
                sums[at + 1] = pair[1]
            var row = top + line + Int32(half * 8)
            var to = normed.unsafe_offset(Int(batch * n_rows + row) * Int(n_out) + Int(left))
            store_line[norm_type, columns // 2, half](to, sums, lane, row < n_rows)
    comptime if across > 1:
        wait_for_cluster()
