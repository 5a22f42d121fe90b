"""Products of many rows with a matrix [n_out, n_in] in half precision, on the tensor cores.

A block computes a tile of the result; what it multiplies streams through shared memory.
"""
from max.gpu import MAX_THREADS_PER_BLOCK_METADATA, block_idx, grid_dim, thread_idx
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
from max.gpu.sync import barrier, syncwarp
from std.math import ceildiv
from std.utils.static_tuple import StaticTuple
from .launch import early, let_next_start, wait_for_previous
from .pointers import F32, Floats, Memory, load
from .tensor_cores import (
    CHUNK,
    GROUP,
    ROW,
    Shared,
    chunk_at,
    describe,
    fetch_chunk,
    multiply_tiles,
    quick_gelu,
)

comptime MULTIPROCESSORS = 132
"""Of the largest GPUs: more blocks than run there at once take their tiles in turn."""
comptime ENOUGH_TILES = 120
"""Blocks that keep the largest GPUs busy; with fewer, smaller tiles are better."""


@__llvm_metadata(
    MAX_THREADS_PER_BLOCK_METADATA=StaticTuple[Int32, 1](Int32(GROUP * groups)),
    `nvvm.minctasm`=SIMDLength(1 if groups > 2 else 2),
)
def tiles_kernel[
    dtype: DType,
    out_type: DType,
    has_gelu: Bool,
    has_residual: Bool,
    groups: Int,
    columns: Int,
    stages: Int,
](
    into: Memory[out_type],
    x: Memory[dtype],
    w: Memory[dtype],
    bias: Floats,
    residual: Floats,
    n_rows: Int32,
    n_in: Int32,
    n_out: Int32,
    n_residual_rows: Int32,
):
    """Blocks take tiles of 64 * `groups` rows by `columns` in turn, those of the same rows first.

    So many stages, steps of 64 inputs, are in shared memory at once; those of a block's next tile
    are on their way before it has finished a tile. Loops stay loops where they can: what is
    unrolled must be fetched too, and a block runs it once or twice.
    """
    comptime rows = 64 * groups
    comptime at_once = GROUP * groups // CHUNK
    comptime stage_size = (rows + columns) * ROW
    var thread = Int32(thread_idx.x)
    var shared = external_memory[Scalar[dtype], address_space=.SHARED, alignment=1024]()
    var n_across = ceildiv(n_out, Int32(columns))
    var n_tiles = n_across * ceildiv(n_rows, Int32(rows))
    var n_steps = ceildiv(n_in, ROW)

    # What each thread copies: the same chunk of several rows.
    var shift_in = thread % CHUNK * CHUNK
    var line = thread // CHUNK
    var to = chunk_at(line, thread % CHUNK)
    var sources = Array[Int32, rows // at_once](fill=0)
    var factors = Array[Int32, columns // at_once](fill=0)
    var fetched_tile = Int32(block_idx.x)
    var fetched_k = Int32(0)
    var fetched_stage = Int32(0)

    var group = thread // GROUP
    var lane = thread % 32
    var tile = Int32(block_idx.x)
    var current = Int32(0)
    var n_done = Int32(1 - stages)
    var sums = SIMD[F32, columns // 2](0)
    wait_for_previous()
    while tile < n_tiles:
        if n_done >= 0:
            async_copy_wait_group(Int32(stages - 2))
            fence_async_view_proxy()
            barrier()
        if fetched_tile < n_tiles:
            if fetched_k == 0:
                var top = fetched_tile // n_across * Int32(rows)
                var left = fetched_tile % n_across * Int32(columns)
                comptime for i in range(rows // at_once):
                    var row = min(top + line + Int32(i * at_once), n_rows - 1)
                    sources[i] = row * n_in + shift_in
                comptime for i in range(columns // at_once):
                    var column = min(left + line + Int32(i * at_once), n_out - 1)
                    factors[i] = column * n_in + shift_in
            var stage = shared.unsafe_offset(Int(fetched_stage * Int32(stage_size)))
            var is_in = fetched_k + shift_in < n_in
            comptime for i in range(rows // at_once):
                var at = sources[i] + fetched_k
                fetch_chunk(stage, to + Int32(i * at_once * ROW), x, at, is_in)
            comptime for i in range(columns // at_once):
                var at = factors[i] + fetched_k
                fetch_chunk(stage, to + Int32((rows + i * at_once) * ROW), w, at, is_in)
            fetched_stage = fetched_stage + 1 if fetched_stage + 1 < Int32(stages) else 0
            fetched_k += ROW
            if fetched_k >= n_in:
                fetched_k = 0
                fetched_tile += Int32(grid_dim.x)
        async_copy_commit_group()
        n_done += 1
        if n_done <= 0:
            continue
        var stage = shared.unsafe_offset(Int(current * Int32(stage_size)))
        wgmma_fence_aligned()
        multiply_tiles[dtype, columns](
            describe[dtype](stage.unsafe_offset(Int(group * 64 * ROW))),
            describe[dtype](stage.unsafe_offset(rows * ROW)),
            sums,
        )
        wgmma_commit_group_sync()
        wgmma_wait_group_sync()
        current = current + 1 if current + 1 < Int32(stages) else 0
        if n_done < n_steps:
            continue

        n_done = 0
        if tile + Int32(grid_dim.x) >= n_tiles:
            let_next_start()
        # Each warp turns its sums by way of shared memory, so that neighbours write side by side.
        comptime width = columns + 8
        var turned = shared.unsafe_offset(stages * stage_size).unsafe_bitcast[Float32]()
        turned = turned.unsafe_offset(Int(thread // 32 * Int32(8 * width)))
        var top = tile // n_across * Int32(rows) + thread // 32 * 16
        var left = tile % n_across * Int32(columns)
        comptime for half in range(2):
            comptime for j in range(columns // 8):
                turned.unsafe_store[width=2, alignment=8](
                    Int(lane // 4 * Int32(width) + lane % 4 * 2) + j * 8,
                    SIMD[F32, 2](sums[j * 4 + half * 2], sums[j * 4 + half * 2 + 1]),
                )
            syncwarp()
            for i in range(lane, Int32(2 * columns), 32):
                var row = top + Int32(half * 8) + i // Int32(columns // 4)
                var shift_out = i % Int32(columns // 4) * 4
                if row < n_rows:
                    finish[out_type, has_gelu, has_residual](
                        into.unsafe_offset(Int(row) * Int(n_out)),
                        turned.unsafe_load[width=4, alignment=16](
                            Int(i // Int32(columns // 4) * Int32(width) + shift_out)
                        ),
                        bias,
                        residual.unsafe_offset(Int(row % n_residual_rows) * Int(n_out)),
                        left + shift_out,
                        n_out,
                    )
            syncwarp()
        sums = 0
        tile += Int32(grid_dim.x)


@always_inline
def finish[
    out_type: DType, has_gelu: Bool, has_residual: Bool
](
    into: Memory[out_type],
    sums: SIMD[F32, 4],
    bias: Floats,
    residual: Floats,
    column: Int32,
    n_out: Int32,
):
    """Four neighbours of a row, at once where they are all there and aligned."""
    var y = sums
    if n_out % 4 == 0:
        if column < n_out:
            y += load[4](bias, Int(column))
            comptime if has_gelu:
                comptime for i in range(4):
                    y[i] = quick_gelu(y[i])
            comptime if has_residual:
                y += load[4](residual, Int(column))
            comptime alignment = 16 if out_type == F32 else 8
            into.unsafe_store[width=4, alignment=alignment](Int(column), y.cast[out_type]())
        return
    comptime for i in range(4):
        var at = Int(column) + i
        if at < Int(n_out):
            y[i] += bias[unsafe_offset=at]
            comptime if has_gelu:
                y[i] = quick_gelu(y[i])
            comptime if has_residual:
                y[i] += residual[unsafe_offset=at]
            into[unsafe_offset=at] = y[i].cast[out_type]()


def multiply_rows[
    dtype: DType, out_type: DType, has_gelu: Bool, has_residual: Bool
](
    into: Memory[out_type],
    x: Memory[dtype],
    w: Memory[dtype],
    bias: Floats,
    residual: Floats,
    n_rows: Int,
    n_in: Int,
    n_out: Int,
    n_residual_rows: Int,
    ctx: DeviceContext,
) raises:
    """Compute act(x w^T + bias) + residual; n_in is a multiple of 8."""

    @__parameter
    def run[groups: Int, columns: Int, stages: Int]() raises:
        var n_tiles = ceildiv(n_out, columns) * ceildiv(n_rows, 64 * groups)
        comptime turned_bytes = groups * 4 * 8 * (columns + 8) * 4
        comptime bytes = stages * (64 * groups + columns) * ROW * 2 + turned_bytes
        ctx.enqueue_function[
            tiles_kernel[dtype, out_type, has_gelu, has_residual, groups, columns, stages]
        ](
            into,
            x,
            w,
            bias,
            residual,
            Int32(n_rows),
            Int32(n_in),
            Int32(n_out),
            Int32(n_residual_rows),
            grid_dim=min(n_tiles, (1 if groups > 2 else 2) * MULTIPROCESSORS),
            block_dim=GROUP * groups,
            shared_mem_bytes=bytes,
            func_attribute=FuncAttribute.MAX_DYNAMIC_SHARED_SIZE_BYTES(UInt32(bytes)),
            attributes=early(),
        )

    if ceildiv(n_rows, 256) * ceildiv(n_out, 128) >= ENOUGH_TILES:
        run[4, 128, 3]()
    else:
        run[1, 64, 6]()
