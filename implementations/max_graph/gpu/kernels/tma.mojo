"""Hopper's tensor memory accelerator (TMA): bulk copies, and the mbarriers that count their bytes.

A tensor map describes a tensor in device memory. Boxes of it are copied to the shared memory of one
block, or of several blocks of a cluster at once, swizzled as the tensor cores read them.
"""
from max.gpu.host import DeviceBuffer, DeviceContext
from max.gpu.host.nvidia.tma import TensorMapSwizzle, TMADescriptor, create_tma_descriptor
from std.memory import Pointer
from std.sys import inlined_assembly
from std.utils.index import IndexList
from .pointers import F32, DevicePointer, FloatPointer
from .wgmma import TILE_K, Shared

comptime Mbarrier = Pointer[UInt64, MutUntrackedOrigin, address_space=.SHARED]


def tensor_map[
    dtype: DType
](
    source: DevicePointer[dtype],
    n_batch: Int,
    n_rows: Int,
    n_columns: Int,
    box_rows: Int,
    ctx: DeviceContext,
) raises -> TMADescriptor:
    """Returns the map of a tensor in boxes of `box_rows` rows by 64 columns; beyond it are zeros.

    Args:
        source: [n_batch, n_rows, n_columns].
        n_batch: Size of the batch.
        n_rows: Rows.
        n_columns: Columns.
        box_rows: Rows of a box.
        ctx: Stream.
    """
    return create_tma_descriptor[dtype, 3, TensorMapSwizzle.SWIZZLE_128B](
        DeviceBuffer[dtype](ctx, source, n_batch * n_rows * n_columns, owning=False),
        IndexList[3](n_batch, n_rows, n_columns),
        IndexList[3](n_rows * n_columns, n_columns, 1),
        IndexList[3](1, box_rows, TILE_K),
    )


def tiled_tensor_map[
    dtype: DType
](
    source: DevicePointer[dtype],
    n_rows: Int,
    n_columns: Int,
    box_rows: Int,
    box_tiles: Int,
    ctx: DeviceContext,
) raises -> TMADescriptor:
    """Returns the map of a matrix as [n_columns / 64, n_rows, 64], whose tiles a box stacks.

    Args:
        source: [n_rows, n_columns].
        n_rows: Rows.
        n_columns: Columns, a multiple of 64.
        box_rows: Rows of a box.
        box_tiles: Tiles of 64 columns in a box, one below the other.
        ctx: Stream.
    """
    return create_tma_descriptor[dtype, 3, TensorMapSwizzle.SWIZZLE_128B](
        DeviceBuffer[dtype](ctx, source, n_rows * n_columns, owning=False),
        IndexList[3](n_columns // TILE_K, n_rows, TILE_K),
        IndexList[3](TILE_K, n_columns, 1),
        IndexList[3](box_tiles, box_rows, TILE_K),
    )


@always_inline
def tma_load[
    dtype: DType, //, *, n_blocks: Int = 1
](
    tile: Shared[dtype],
    tensor: TMADescriptor,
    barrier: Mbarrier,
    *,
    column: Int32,
    row: Int32,
    batch: Int32,
):
    """Starts the copy of a box into this block, or to the same place in all blocks of a cluster.

    Parameters:
        dtype: Of the tensor.
        n_blocks: Blocks of the cluster that the box is copied to, all or 1.

    Args:
        tile: Place in shared memory.
        tensor: Map of the tensor.
        barrier: Barrier that counts the bytes.
        column: First column of the box, in the map's last dimension.
        row: First row, in the dimension before.
        batch: Item of the batch, in the first dimension.
    """
    var source = Pointer(to=tensor)
    comptime to_many = ".multicast::cluster" if n_blocks > 1 else ""
    comptime copy = "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes" + (
        to_many + " [$0], [$1, {$3, $4, $5}], [$2]" + (", $6;" if n_blocks > 1 else ";")
    )
    comptime if n_blocks > 1:
        var mask = Int32((1 << n_blocks) - 1)
        inlined_assembly[copy, NoneType, constraints="r,l,r,r,r,r,h"](
            Int32(Int(tile)), source, Int32(Int(barrier)), column, row, batch, Int16(mask)
        )
    else:
        inlined_assembly[copy, NoneType, constraints="r,l,r,r,r,r"](
            Int32(Int(tile)), source, Int32(Int(barrier)), column, row, batch
        )


@always_inline
def tma_load_1d(place: Shared[F32], source: FloatPointer, barrier: Mbarrier, n_bytes: Int32):
    """Starts the copy of neighbours, a multiple of 16 bytes and aligned to 16."""
    inlined_assembly[
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [$0], [$1], $3, [$2];",
        NoneType,
        constraints="r,l,r,r",
    ](Int32(Int(place)), source, Int32(Int(barrier)), n_bytes)


@always_inline
def prefetch_l2(source: DevicePointer, n_bytes: Int32):
    """Starts a copy of neighbours into the L2 cache, a multiple of 16 bytes and aligned to 16."""
    inlined_assembly[
        "cp.async.bulk.prefetch.L2.global [$0], $1;", NoneType, constraints="l,r"
    ](source, n_bytes)


@always_inline
def mbarrier_init(barrier: Mbarrier, n_arrivals: Int32):
    """Initializes a barrier that opens after so many arrivals and all expected bytes."""
    inlined_assembly["mbarrier.init.shared::cta.b64 [$0], $1;", NoneType, constraints="r,r"](
        Int32(Int(barrier)), n_arrivals
    )


@always_inline
def fence_mbarrier_init():
    """Makes initialized barriers visible to the cluster and to the TMA."""
    inlined_assembly["fence.mbarrier_init.release.cluster;", NoneType, constraints=""]()


@always_inline
def mbarrier_expect_tx(barrier: Mbarrier, n_bytes: Int32):
    """Arrives, and adds so many bytes to those that the barrier waits for."""
    inlined_assembly[
        "mbarrier.arrive.expect_tx.shared::cta.b64 _, [$0], $1;", NoneType, constraints="r,r"
    ](Int32(Int(barrier)), n_bytes)


@always_inline
def mbarrier_arrive(barrier: Mbarrier, block: Int32):
    """Arrives at the barrier of the same address in a block of the cluster."""
    inlined_assembly[
        "{ .reg .b32 place; mapa.shared::cluster.u32 place, $0, $1;"
        " mbarrier.arrive.shared::cluster.b64 _, [place]; }",
        NoneType,
        constraints="r,r",
    ](Int32(Int(barrier)), block)


@always_inline
def mbarrier_wait(barrier: Mbarrier, parity: Int32):
    """Waits for a phase of the barrier: parity is 0 for the first, then 1, 0 and so on."""
    inlined_assembly[
        "{ .reg .pred open; again: mbarrier.try_wait.parity.shared::cta.b64 open, [$0], $1;"
        " @open bra.uni done; bra.uni again; done: }",
        NoneType,
        constraints="r,r",
    ](Int32(Int(barrier)), parity)


@always_inline
def cluster_arrive():
    """Arrives at the cluster's barrier without ordering memory."""
    inlined_assembly["barrier.cluster.arrive.relaxed;", NoneType, constraints=""]()


@always_inline
def cluster_wait():
    """Waits until all threads of the cluster have arrived; memory is not ordered."""
    inlined_assembly["barrier.cluster.wait;", NoneType, constraints=""]()


@always_inline
def st_async(place: Shared[F32], barrier: Mbarrier, block: Int32, a: Float32, b: Float32):
    """Writes two numbers to the same place in a block of the cluster, counted by its barrier."""
    inlined_assembly[
        "{ .reg .b32 there, gate; mapa.shared::cluster.u32 there, $0, $2;"
        " mapa.shared::cluster.u32 gate, $1, $2;"
        " st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [there], {$3, $4}, [gate]; }",
        NoneType,
        constraints="r,r,r,f,f",
    ](Int32(Int(place)), Int32(Int(barrier)), block, a, b)
