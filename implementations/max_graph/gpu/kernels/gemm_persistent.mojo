"""Matmul of many rows in half precision for Hopper by blocks that stay on their multiprocessor.

One warp of a block loads tiles by TMA, for its next result too, while warpgroups multiply them and
store. Two products of a warpgroup are queued at a time.
"""
from max.gpu import MAX_THREADS_PER_BLOCK_METADATA, block_idx, grid_dim, thread_idx
from max.gpu.compute.mma import (
    wgmma_commit_group_sync,
    wgmma_fence_aligned,
    wgmma_wait_group_sync,
)
from max.gpu.host import DeviceContext, FuncAttribute
from max.gpu.host.nvidia.tma import TMADescriptor
from max.gpu.sync import barrier
from std.math import ceildiv
from std.sys import inlined_assembly
from std.utils.static_tuple import StaticTuple
from .accumulators import store_row
from .epilogue import Epilogue, apply_epilogue
from .multiprocessors import multiprocessors
from .pdl import launch_dependents, pdl_attributes, wait_on_dependencies
from .pointers import F32, DevicePointer, FloatPointer
from .tile_ring import PersistentTile, Ring
from .tma import (
    fence_mbarrier_init,
    mbarrier_arrive,
    mbarrier_expect_tx,
    mbarrier_init,
    mbarrier_wait,
    tensor_map,
    tma_load,
)
from .wgmma import LANES, TILE_K, WARPGROUP, wgmma_descriptor, wgmma_tile

comptime LOADING_REGISTERS = 40
"""Registers of a thread of the warpgroup whose one warp loads; the others get those it gives up."""


comptime LARGE_TILE = PersistentTile(groups=4, columns=128, stages=4, registers=104)
comptime SMALL_TILE = PersistentTile(groups=2, columns=128, stages=6, registers=232)
comptime SMALL_TILE_COST = 0.54
"""Time of a small tile in that of a large one, measured on an H200."""


@always_inline
def load_tile[
    dtype: DType, tile: PersistentTile, //
](
    mut ring: Ring[dtype, tile],
    rows_map: TMADescriptor,
    matrix_map: TMADescriptor,
    top: Int32,
    left: Int32,
    n_in: Int32,
):
    """Loads all inputs of a tile of the result, each stage as soon as it is empty."""
    for k in range(Int32(0), n_in, Int32(TILE_K)):
        mbarrier_wait(ring.empty(ring.stage), ring.parity ^ 1)
        var full = ring.full(ring.stage)
        mbarrier_expect_tx(full, Int32(tile.stage_size() * 2))
        tma_load(ring.rows(), rows_map, full, column=k, row=top, batch=0)
        tma_load(ring.matrix(), matrix_map, full, column=k, row=left, batch=0)
        ring.advance()


@always_inline
def multiply_tile[
    dtype: DType, tile: PersistentTile, //
](mut ring: Ring[dtype, tile], group: Int32, is_first: Bool, n_in: Int32) -> SIMD[
    F32, tile.columns // 2
]:
    """Returns a warpgroup's sums of a tile; its first thread reports the stages that were used."""
    var sums = SIMD[F32, tile.columns // 2](0)
    var last = ring.stage
    for k in range(Int32(0), n_in, Int32(TILE_K)):
        mbarrier_wait(ring.full(ring.stage), ring.parity)
        wgmma_fence_aligned()
        wgmma_tile[dtype, tile.columns](
            wgmma_descriptor[dtype](ring.rows().unsafe_offset(Int(group * 64 * TILE_K))),
            wgmma_descriptor[dtype](ring.matrix()),
            sums,
        )
        wgmma_commit_group_sync()
        wgmma_wait_group_sync[1]()
        if k > 0 and is_first:
            mbarrier_arrive(ring.empty(last), 0)
        last = ring.stage
        ring.advance()
    wgmma_wait_group_sync()
    if is_first:
        mbarrier_arrive(ring.empty(last), 0)
    return sums


@__llvm_metadata(
    MAX_THREADS_PER_BLOCK_METADATA=StaticTuple[Int32, 1](Int32(tile.threads())),
    `nvvm.minctasm`=SIMDLength(1),
)
@__llvm_arg_metadata(rows_map, `nvvm.grid_constant`)
@__llvm_arg_metadata(matrix_map, `nvvm.grid_constant`)
def gemm_persistent_kernel[
    *, dtype: DType, out_type: DType, epilogue: Epilogue, tile: PersistentTile
](
    output: DevicePointer[out_type],
    rows_map: TMADescriptor,
    matrix_map: TMADescriptor,
    bias: FloatPointer,
    residual: FloatPointer,
    n_rows: Int32,
    n_in: Int32,
    n_out: Int32,
    n_residual_rows: Int32,
):
    """Computes act(x w^T + bias) + residual by tiles, which blocks take in turn.

    Tiles of the same rows are neighbours, so that the rows stay in the L2 cache. The maps are of
    x [1, n_rows, n_in] and w [1, n_out, n_in]; for all else see `gemm_persistent`.
    """
    var thread = Int32(thread_idx.x)
    var ring = Ring[dtype, tile]()
    var n_across = n_out // Int32(tile.columns)
    var n_tiles = n_across * ceildiv(n_rows, Int32(tile.rows()))
    if thread == 0:
        for i in range(Int32(tile.stages)):
            mbarrier_init(ring.full(i), 1)
            mbarrier_init(ring.empty(i), Int32(tile.groups))
        fence_mbarrier_init()
    barrier()
    wait_on_dependencies()
    comptime multiplying = Int32(WARPGROUP * tile.groups)
    if thread >= multiplying:
        comptime fewer = "setmaxnreg.dec.sync.aligned.u32 " + String(LOADING_REGISTERS) + ";"
        inlined_assembly[fewer, NoneType, constraints=""]()
        if thread == multiplying:
            for at in range(Int32(block_idx.x), n_tiles, Int32(grid_dim.x)):
                var top = at // n_across * Int32(tile.rows())
                var left = at % n_across * Int32(tile.columns)
                load_tile(ring, rows_map, matrix_map, top, left, n_in)
        return
    comptime more = "setmaxnreg.inc.sync.aligned.u32 " + String(tile.registers) + ";"
    inlined_assembly[more, NoneType, constraints=""]()
    var group = thread // WARPGROUP
    var peer = thread % WARPGROUP
    var lane = thread % LANES
    for at in range(Int32(block_idx.x), n_tiles, Int32(grid_dim.x)):
        var sums = multiply_tile(ring, group, peer == 0, n_in)
        if at + Int32(grid_dim.x) >= n_tiles:
            launch_dependents()
        var left = at % n_across * Int32(tile.columns)
        var line = at // n_across * Int32(tile.rows()) + group * 64 + peer // LANES * 16 + lane // 4
        var first = Int(left + lane % 4 * 2)
        comptime for half in range(2):
            var row = line + Int32(half * 8)
            var residual_row = Int(min(row, n_rows - 1) % n_residual_rows)
            var source = residual.unsafe_offset(residual_row * Int(n_out) + first)
            apply_epilogue[epilogue=epilogue, half=half](sums, bias.unsafe_offset(first), source)
            var to = output.unsafe_offset(Int(row) * Int(n_out) + Int(left))
            store_row[out_type, tile.columns // 2, half](to, sums, lane, row < n_rows)


def launch_tiles[
    dtype: DType, out_type: DType, //, *, epilogue: Epilogue, tile: PersistentTile
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
    """Launches the kernel with a tile; for all else see `gemm_persistent`."""
    comptime kernel = gemm_persistent_kernel[
        dtype=dtype, out_type=out_type, epilogue=epilogue, tile=tile
    ]
    comptime bytes = tile.shared_bytes()
    ctx.enqueue_function[kernel](
        output,
        tensor_map(x, 1, n_rows, n_in, tile.rows(), ctx),
        tensor_map(w, 1, n_out, n_in, tile.columns, ctx),
        bias,
        residual,
        Int32(n_rows),
        Int32(n_in),
        Int32(n_out),
        Int32(n_residual_rows),
        grid_dim=min(multiprocessors(ctx), tile.n_tiles(n_rows, n_out)),
        block_dim=tile.threads(),
        shared_mem_bytes=bytes,
        func_attribute=FuncAttribute.MAX_DYNAMIC_SHARED_SIZE_BYTES(UInt32(bytes)),
        attributes=pdl_attributes(),
    )


def gemm_persistent[
    dtype: DType, out_type: DType, //, *, epilogue: Epilogue
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
    """Launches act(x w^T + bias) + residual with the tiles that take the blocks the least time.

    Parameters:
        dtype: Of rows and matrix.
        out_type: Of the output.
        epilogue: Work on the sums.

    Args:
        output: [n_rows, n_out].
        x: [n_rows, n_in].
        w: [n_out, n_in].
        bias: [n_out].
        residual: [n_residual_rows, n_out], repeated where it has fewer rows.
        n_rows: Number of rows.
        n_in: Inputs, a multiple of 8.
        n_out: Outputs, a multiple of 128.
        n_residual_rows: Rows of the residual.
        ctx: Stream.
    """
    var n_blocks = multiprocessors(ctx)
    var large = Float64(ceildiv(LARGE_TILE.n_tiles(n_rows, n_out), n_blocks))
    var small = SMALL_TILE_COST * Float64(ceildiv(SMALL_TILE.n_tiles(n_rows, n_out), n_blocks))
    if large <= small:
        launch_tiles[epilogue=epilogue, tile=LARGE_TILE](
            output, x, w, bias, residual, n_rows, n_in, n_out, n_residual_rows, ctx
        )
    else:
        launch_tiles[epilogue=epilogue, tile=SMALL_TILE](
            output, x, w, bias, residual, n_rows, n_in, n_out, n_residual_rows, ctx
        )
