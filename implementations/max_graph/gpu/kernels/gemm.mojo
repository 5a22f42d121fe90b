"""Matmul of many rows with a matrix [n_out, n_in] in half precision, on the tensor cores.

A block computes a tile of the result; rows and matrix stream through shared memory by cp.async.
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
from .math import gelu_erf_approx
from .pdl import launch_dependents, pdl_attributes, wait_on_dependencies
from .pointers import F32, DevicePointer, FloatPointer, load
from .wgmma import (
    CHUNK,
    LANES,
    TILE_K,
    WARPGROUP,
    cp_async_chunk,
    swizzled_offset,
    wgmma_descriptor,
    wgmma_tile,
)

comptime N_SM = DeviceContext.default_device_info.sm_count
"""Multiprocessors; more blocks than run there at once take their tiles in turn."""
comptime MIN_LARGE_TILES = 120
"""Large tiles from which they are faster than small ones, measured on an H100."""


@__llvm_metadata(
    MAX_THREADS_PER_BLOCK_METADATA=StaticTuple[Int32, 1](Int32(WARPGROUP * groups)),
    `nvvm.minctasm`=SIMDLength(1 if groups > 2 else 2),
)
def gemm_kernel[
    *,
    dtype: DType,
    out_type: DType,
    has_gelu: Bool,
    has_residual: Bool,
    groups: Int,
    columns: Int,
    stages: Int,
](
    output: DevicePointer[out_type],
    x: DevicePointer[dtype],
    w: DevicePointer[dtype],
    bias: FloatPointer,
    residual: FloatPointer,
    n_rows: Int32,
    n_in: Int32,
    n_out: Int32,
    n_residual_rows: Int32,
):
    """Computes act(x w^T + bias) + residual by tiles, which blocks take in turn.

    Tiles of the same rows come first. Loads of a block's next tile begin before it has finished a
    tile. Loops stay loops where they can: instructions that are unrolled must be fetched too, and a
    block runs them once or twice.

    Parameters:
        dtype: Of rows and matrix.
        out_type: Of the output.
        has_gelu: True where GELU follows the bias.
        has_residual: True where a residual is added last.
        groups: Warpgroups of a block, 64 rows each.
        columns: Columns of a tile.
        stages: Steps of TILE_K inputs in shared memory at once.

    Args:
        output: [n_rows, n_out].
        x: [n_rows, n_in].
        w: [n_out, n_in].
        bias: [n_out].
        residual: [n_residual_rows, n_out], repeated where it has fewer rows.
        n_rows: Number of rows.
        n_in: Inputs, a multiple of 8.
        n_out: Outputs.
        n_residual_rows: Rows of the residual.
    """
    comptime rows = 64 * groups
    comptime at_once = WARPGROUP * groups // CHUNK
    comptime stage_size = (rows + columns) * TILE_K
    var thread = Int32(thread_idx.x)
    var shared = external_memory[Scalar[dtype], address_space=.SHARED, alignment=1024]()
    var n_across = ceildiv(n_out, Int32(columns))
    var n_tiles = n_across * ceildiv(n_rows, Int32(rows))
    var n_steps = ceildiv(n_in, TILE_K)

    # Each thread copies the same chunk of several rows.
    var shift_in = thread % CHUNK * CHUNK
    var line = thread // CHUNK
    var to = swizzled_offset(line, thread % CHUNK)
    var sources = Array[Int32, rows // at_once](fill=0)
    var factors = Array[Int32, columns // at_once](fill=0)
    var loaded_tile = Int32(block_idx.x)
    var loaded_k = Int32(0)
    var loaded_stage = Int32(0)

    var group = thread // WARPGROUP
    var lane = thread % LANES
    var tile = Int32(block_idx.x)
    var current = Int32(0)
    var n_done = Int32(1 - stages)
    var sums = SIMD[F32, columns // 2](0)
    wait_on_dependencies()
    while tile < n_tiles:
        if n_done >= 0:
            async_copy_wait_group(Int32(stages - 2))
            fence_async_view_proxy()
            barrier()
        if loaded_tile < n_tiles:
            if loaded_k == 0:
                var top = loaded_tile // n_across * Int32(rows)
                var left = loaded_tile % n_across * Int32(columns)
                comptime for i in range(rows // at_once):
                    sources[i] = (top + line + Int32(i * at_once)) * n_in + shift_in
                comptime for i in range(columns // at_once):
                    factors[i] = (left + line + Int32(i * at_once)) * n_in + shift_in
            var stage = shared.unsafe_offset(Int(loaded_stage * Int32(stage_size)))
            var is_in = loaded_k + shift_in < n_in
            comptime for i in range(rows // at_once):
                var at = sources[i] + loaded_k
                var is_there = is_in and sources[i] < n_rows * n_in
                cp_async_chunk(stage, to + Int32(i * at_once * TILE_K), x, at, is_there)
            comptime for i in range(columns // at_once):
                var at = factors[i] + loaded_k
                var is_there = is_in and factors[i] < n_out * n_in
                cp_async_chunk(stage, to + Int32((rows + i * at_once) * TILE_K), w, at, is_there)
            loaded_stage = loaded_stage + 1 if loaded_stage + 1 < Int32(stages) else 0
            loaded_k += TILE_K
            if loaded_k >= n_in:
                loaded_k = 0
                loaded_tile += Int32(grid_dim.x)
        async_copy_commit_group()
        n_done += 1
        if n_done <= 0:
            continue
        var stage = shared.unsafe_offset(Int(current * Int32(stage_size)))
        wgmma_fence_aligned()
        wgmma_tile[dtype, columns](
            wgmma_descriptor[dtype](stage.unsafe_offset(Int(group * 64 * TILE_K))),
            wgmma_descriptor[dtype](stage.unsafe_offset(rows * TILE_K)),
            sums,
        )
        wgmma_commit_group_sync()
        wgmma_wait_group_sync()
        current = current + 1 if current + 1 < Int32(stages) else 0
        if n_done < n_steps:
            continue

        n_done = 0
        if tile + Int32(grid_dim.x) >= n_tiles:
            launch_dependents()
        # Each warp transposes its sums in shared memory, so that neighbours write side by side.
        comptime width = columns + 8
        var transposed = shared.unsafe_offset(stages * stage_size).unsafe_bitcast[Float32]()
        transposed = transposed.unsafe_offset(Int(thread // LANES * Int32(8 * width)))
        var top = tile // n_across * Int32(rows) + thread // LANES * 16
        var left = tile % n_across * Int32(columns)
        comptime for half in range(2):
            comptime for j in range(columns // 8):
                transposed.unsafe_store[width=2, alignment=8](
                    Int(lane // 4 * Int32(width) + lane % 4 * 2) + j * 8,
                    SIMD[F32, 2](sums[j * 4 + half * 2], sums[j * 4 + half * 2 + 1]),
                )
            syncwarp()
            for i in range(lane, Int32(2 * columns), LANES):
                var row = top + Int32(half * 8) + i // Int32(columns // 4)
                var shift_out = i % Int32(columns // 4) * 4
                if row < n_rows:
                    store_four[out_type, has_gelu=has_gelu, has_residual=has_residual](
                        output.unsafe_offset(Int(row) * Int(n_out)),
                        transposed.unsafe_load[width=4, alignment=16](
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
def store_four[
    out_type: DType, *, has_gelu: Bool, has_residual: Bool
](
    output: DevicePointer[out_type],
    sums: SIMD[F32, 4],
    bias: FloatPointer,
    residual: FloatPointer,
    column: Int32,
    n_out: Int32,
):
    """Applies the epilogue to four neighbours of a row and stores them.

    Parameters:
        out_type: Of the output.
        has_gelu: True where GELU follows the bias.
        has_residual: True where a residual is added last.

    Args:
        output: The row.
        sums: Four sums.
        bias: [n_out].
        residual: The row's residual.
        column: First of the four.
        n_out: Width of the row; the four are stored at once where it is a multiple of 4.
    """
    var y = sums
    if n_out % 4 == 0:
        if column < n_out:
            y += load[4](bias, Int(column))
            comptime if has_gelu:
                comptime for i in range(4):
                    y[i] = gelu_erf_approx(y[i])
            comptime if has_residual:
                y += load[4](residual, Int(column))
            comptime alignment = 16 if out_type == F32 else 8
            output.unsafe_store[width=4, alignment=alignment](Int(column), y.cast[out_type]())
        return
    comptime for i in range(4):
        var at = Int(column) + i
        if at < Int(n_out):
            y[i] += bias[unsafe_offset=at]
            comptime if has_gelu:
                y[i] = gelu_erf_approx(y[i])
            comptime if has_residual:
                y[i] += residual[unsafe_offset=at]
            output[unsafe_offset=at] = y[i].cast[out_type]()


def gemm[
    dtype: DType, out_type: DType, //, *, has_gelu: Bool, has_residual: Bool
](
    output: DevicePointer[out_type],
    x: DevicePointer[dtype],
    w: DevicePointer[dtype],
    bias: FloatPointer,
    residual: FloatPointer,
    n_rows: Int,
    n_in: Int,
    n_out: Int,
    n_residual_rows: Int,
    ctx: DeviceContext,
) raises:
    """Launches act(x w^T + bias) + residual with tiles that suit the rows.

    For parameters and arguments see `gemm_kernel`; `ctx` is the stream.
    """

    @__parameter
    def launch[groups: Int, columns: Int, stages: Int]() raises:
        var n_tiles = ceildiv(n_out, columns) * ceildiv(n_rows, 64 * groups)
        comptime transpose_bytes = groups * 4 * 8 * (columns + 8) * 4
        comptime bytes = stages * (64 * groups + columns) * TILE_K * 2 + transpose_bytes
        ctx.enqueue_function[
            gemm_kernel[
                dtype=dtype,
                out_type=out_type,
                has_gelu=has_gelu,
                has_residual=has_residual,
                groups=groups,
                columns=columns,
                stages=stages,
            ]
        ](
            output,
            x,
            w,
            bias,
            residual,
            Int32(n_rows),
            Int32(n_in),
            Int32(n_out),
            Int32(n_residual_rows),
            grid_dim=min(n_tiles, (1 if groups > 2 else 2) * N_SM),
            block_dim=WARPGROUP * groups,
            shared_mem_bytes=bytes,
            func_attribute=FuncAttribute.MAX_DYNAMIC_SHARED_SIZE_BYTES(UInt32(bytes)),
            attributes=pdl_attributes(),
        )

    if n_rows > 128 and ceildiv(n_rows, 256) * ceildiv(n_out, 128) >= MIN_LARGE_TILES:
        launch[groups=4, columns=128, stages=3]()
    else:
        launch[groups=1, columns=64, stages=6]()
