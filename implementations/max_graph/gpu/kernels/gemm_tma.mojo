"""Matmul in half precision for the encoder: TMA loads, wgmma, and a fused epilogue.

Bias, GELU, residual and the layer norm before the next matmul are applied to the sums in registers;
for the norm the blocks of a cluster, which have whole rows between them, exchange moments. The rows
may be frames of a convolution, read with their neighbours from where they are: no im2col.
"""
import max.gpu.primitives.warp as warp
from max.gpu import MAX_THREADS_PER_BLOCK_METADATA, block_idx, thread_idx
from max.gpu.compute.mma import wgmma_commit_group_sync, wgmma_fence_aligned
from max.gpu.compute.mma import wgmma_wait_group_sync
from max.gpu.host.nvidia.tma import TMADescriptor
from max.gpu.memory import external_memory
from max.gpu.sync import barrier, syncwarp
from std.math import ceildiv, rsqrt
from std.utils.static_tuple import StaticTuple
from .accumulators import store_row
from .epilogue import Epilogue, apply_epilogue
from .layer_norm import EPSILON
from .pdl import launch_dependents, wait_on_dependencies
from .pointers import F32, DevicePointer, FloatPointer, load
from .tma import (
    cluster_arrive,
    cluster_wait,
    fence_mbarrier_init,
    mbarrier_arrive,
    mbarrier_expect_tx,
    mbarrier_init,
    mbarrier_wait,
    st_async,
    tma_load,
)
from .wgmma import LANES, TILE_K, WARPGROUP, wgmma_descriptor, wgmma_tile

comptime BLOCKS_PER_SM = 2


@fieldwise_init
struct Tile(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Part of a result that a block computes, and its pipeline."""

    var groups: Int
    """Warpgroups, 64 rows each."""
    var columns: Int
    var stages: Int
    """Steps of TILE_K inputs in shared memory at once."""
    var lag: Int
    """Steps after which a stage that was read is filled again."""

    def rows(self) -> Int:
        """Returns the rows of the tile."""
        return 64 * self.groups

    def stage_size(self) -> Int:
        """Returns the values of a stage: a row tile and a matrix tile."""
        return (self.rows() + self.columns) * TILE_K

    def shared_bytes(self, cluster_size: Int) -> Int:
        """Returns the bytes of shared memory: stages, barriers, and moments of the cluster."""
        return self.stages * (self.stage_size() * 2 + 16) + 16 + self.rows() * cluster_size * 8


@__llvm_metadata(
    MAX_THREADS_PER_BLOCK_METADATA=StaticTuple[Int32, 1](Int32(WARPGROUP * tile.groups)),
    `nvvm.minctasm`=SIMDLength(BLOCKS_PER_SM),
)
@__llvm_arg_metadata(rows_map, `nvvm.grid_constant`)
@__llvm_arg_metadata(matrix_map, `nvvm.grid_constant`)
def gemm_tma_kernel[
    *,
    dtype: DType,
    out_type: DType,
    norm_type: DType,
    epilogue: Epilogue,
    with_norm: Bool,
    tile: Tile,
    cluster_size: Int,
](
    output: DevicePointer[out_type],
    normed: DevicePointer[norm_type],
    rows_map: TMADescriptor,
    matrix_map: TMADescriptor,
    bias: FloatPointer,
    residual: FloatPointer,
    norm_weight: FloatPointer,
    norm_bias: FloatPointer,
    n_rows: Int32,
    n_in: Int32,
    n_out: Int32,
    n_residual_rows: Int32,
    n_taps: Int32,
    stride: Int32,
):
    """Computes a tile of act(x w^T + bias) + residual, and of its layer norm.

    Blocks: (columns, rows, batch), in clusters of `cluster_size` that share their rows and take
    turns in loading them for all.

    Parameters:
        dtype: Of rows and matrix.
        out_type: Of the output.
        norm_type: Of the normalized output.
        epilogue: Work on the sums.
        with_norm: True where the layer norm is part of it; it may be a kernel of its own.
        tile: Rows and columns of a block.
        cluster_size: Blocks of a row, where there is a layer norm; otherwise 1.

    Args:
        output: [n_batch, n_rows, n_out].
        normed: The same shape.
        rows_map: Frames [n_batch, n_rows, stride * n_in].
        matrix_map: [n_out, n_taps * n_in].
        bias: [n_out].
        residual: [n_residual_rows, n_out].
        norm_weight: [n_out].
        norm_bias: [n_out].
        n_rows: Rows of each item of the batch.
        n_in: Inputs of a frame.
        n_out: Output columns, a multiple of `tile.columns` times `cluster_size`.
        n_residual_rows: Rows of the residual.
        n_taps: Frames of a row.
        stride: Frames from row to row.
    """
    comptime groups = tile.groups
    comptime columns = tile.columns
    comptime stages = tile.stages
    comptime lag = tile.lag
    comptime rows = tile.rows()
    comptime stage_size = tile.stage_size()
    var thread = Int32(thread_idx.x)
    var shared = external_memory[Scalar[dtype], address_space=.SHARED, alignment=1024]()
    var full = shared.unsafe_offset(stages * stage_size).unsafe_bitcast[UInt64]()
    var empty = full.unsafe_offset(stages)
    var moments_ready = empty.unsafe_offset(stages)
    var moments = moments_ready.unsafe_offset(2).unsafe_bitcast[Float32]()
    var rank = Int32(block_idx.x) % Int32(cluster_size)
    var left = Int32(block_idx.x) * Int32(columns)
    var top = Int32(block_idx.y) * Int32(rows)
    var batch = Int32(block_idx.z)
    var n_steps = ceildiv(n_in, TILE_K) * n_taps
    if thread == 0:
        comptime for i in range(stages):
            mbarrier_init(full.unsafe_offset(i), 1)
            mbarrier_init(empty.unsafe_offset(i), Int32(groups * cluster_size))
        mbarrier_init(moments_ready, 1)
        fence_mbarrier_init()
    comptime if cluster_size > 1:
        cluster_arrive()
        cluster_wait()
    else:
        barrier()

    # Position of the next load by the first thread.
    var load_tap = Int32(0)
    var load_k = Int32(0)

    @__parameter
    @always_inline
    def load_stage[with_matrix: Bool, with_rows: Bool](step: Int32, at: Int32):
        var stage_tile = shared.unsafe_offset(Int(at * Int32(stage_size)))
        var here = full.unsafe_offset(Int(at))
        comptime if with_matrix:
            mbarrier_expect_tx(here, Int32(stage_size * 2))
            var column = load_tap * n_in + load_k
            var matrix_tile = stage_tile.unsafe_offset(rows * TILE_K)
            tma_load(matrix_tile, matrix_map, here, column=column, row=left, batch=0)
        comptime if with_rows:
            if step % Int32(cluster_size) == rank:
                var shift = load_tap - n_taps // 2 + stride
                tma_load[n_blocks=cluster_size](
                    stage_tile,
                    rows_map,
                    here,
                    column=shift % stride * n_in + load_k,
                    row=top + shift // stride - 1,
                    batch=batch,
                )
        load_k += TILE_K
        if load_k >= n_in:
            load_k = 0
            load_tap += 1

    if thread == 0:
        comptime for i in range(stages):
            if Int32(i) < n_steps:
                load_stage[with_matrix=True, with_rows=False](Int32(i), Int32(i))
        wait_on_dependencies()
        load_tap = 0
        load_k = 0
        comptime for i in range(stages):
            if Int32(i) < n_steps:
                load_stage[with_matrix=False, with_rows=True](Int32(i), Int32(i))
        comptime if with_norm and cluster_size > 1:
            mbarrier_expect_tx(moments_ready, Int32(rows * cluster_size * 8))
    syncwarp()
    var group = thread // WARPGROUP
    var lane = thread % LANES
    var stage = Int32(0)
    var parity = Int32(0)
    var oldest = Int32(0)
    var oldest_parity = Int32(0)
    var peer = thread % WARPGROUP
    var sums = SIMD[F32, columns // 2](0)
    for step in range(n_steps):
        if step >= Int32(lag):
            if thread == 0 and step + Int32(stages - lag) < n_steps:
                mbarrier_wait(empty.unsafe_offset(Int(oldest)), oldest_parity)
                load_stage[with_matrix=True, with_rows=True](step + Int32(stages - lag), oldest)
            oldest += 1
            if oldest == Int32(stages):
                oldest = 0
                oldest_parity ^= 1
        syncwarp()
        mbarrier_wait(full.unsafe_offset(Int(stage)), parity)
        var stage_tile = shared.unsafe_offset(Int(stage * Int32(stage_size)))
        wgmma_fence_aligned()
        wgmma_tile[dtype, columns](
            wgmma_descriptor[dtype](stage_tile.unsafe_offset(Int(group * 64 * TILE_K))),
            wgmma_descriptor[dtype](stage_tile.unsafe_offset(rows * TILE_K)),
            sums,
        )
        wgmma_commit_group_sync()
        wgmma_wait_group_sync()
        if peer < Int32(cluster_size):
            mbarrier_arrive(empty.unsafe_offset(Int(stage)), peer)
        stage += 1
        if stage == Int32(stages):
            stage = 0
            parity ^= 1
    launch_dependents()
    comptime if cluster_size > 1:
        cluster_arrive()
    wait_on_dependencies()
    var line = group * 64 + thread % WARPGROUP // LANES * 16 + lane // 4
    var first = left + lane % 4 * 2
    var biases = bias.unsafe_offset(Int(first))
    var scales = norm_weight.unsafe_offset(Int(first))
    var shifts = norm_bias.unsafe_offset(Int(first))
    comptime for half in range(2):
        var row = top + line + Int32(half * 8)
        var residual_row = (batch * n_rows + min(row, n_rows - 1)) % n_residual_rows
        apply_epilogue[epilogue=epilogue, half=half](
            sums, biases, residual.unsafe_offset(Int(residual_row) * Int(n_out) + Int(first))
        )
        comptime if epilogue.store_output:
            var to = output.unsafe_offset(Int(batch * n_rows + row) * Int(n_out) + Int(left))
            store_row[out_type, columns // 2, half](to, sums, lane, row < n_rows)

    comptime if with_norm:
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
            comptime if cluster_size > 1:
                if lane % 4 == 0:
                    var place = moments.unsafe_offset(
                        Int((rank * Int32(rows) + line + Int32(half * 8)) * 2)
                    )
                    comptime for i in range(cluster_size):
                        st_async(place, moments_ready, Int32(i), means[half], squares[half])
        comptime if cluster_size > 1:
            mbarrier_wait(moments_ready, 0)
        comptime for half in range(2):
            var mean = means[half]
            var total = squares[half]
            comptime if cluster_size > 1:
                # The variance of groups of columns, by the formula of Chan et al. (1979).
                var found = Array[Float32, cluster_size * 2](fill=0)
                mean = 0
                comptime for i in range(cluster_size):
                    var at = Int((Int32(i) * Int32(rows) + line + Int32(half * 8)) * 2)
                    found[2 * i] = moments[unsafe_offset=at]
                    found[2 * i + 1] = moments[unsafe_offset=at + 1]
                    mean += found[2 * i]
                mean *= Float32(1) / Float32(cluster_size)
                total = 0
                comptime for i in range(cluster_size):
                    total += found[2 * i + 1] + (found[2 * i] - mean) ** 2 * Float32(columns)
            var scale = rsqrt(total / Float32(columns * cluster_size) + EPSILON)
            comptime for j in range(columns // 8):
                comptime at = j * 4 + half * 2
                var pair = (SIMD[F32, 2](sums[at], sums[at + 1]) - mean) * scale
                pair = pair * load[2](scales, j * 8) + load[2](shifts, j * 8)
                sums[at] = pair[0]
                sums[at + 1] = pair[1]
            var row = top + line + Int32(half * 8)
            var to = normed.unsafe_offset(Int(batch * n_rows + row) * Int(n_out) + Int(left))
            store_row[norm_type, columns // 2, half](to, sums, lane, row < n_rows)
    comptime if cluster_size > 1:
        cluster_wait()
