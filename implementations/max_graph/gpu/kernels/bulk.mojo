"""Copies that Hopper's copy engine makes by itself, and the barriers that tell when they are there.

A tensor lies in device memory as `describe_tensor` says; boxes of it come into the shared memory of
one block, or of several blocks of a cluster at once, swizzled as the tensor cores read them.
"""
from max.gpu.host import DeviceBuffer, DeviceContext
from max.gpu.host.nvidia.tma import TensorMapSwizzle, TMADescriptor, create_tma_descriptor
from std.memory import Pointer
from std.sys import inlined_assembly
from std.utils.index import IndexList
from .pointers import F32, Floats, Memory
from .tensor_cores import ROW, Shared

comptime Barriers = Pointer[UInt64, MutUntrackedOrigin, address_space=.SHARED]


def describe_tensor[
    dtype: DType
](
    source: Memory[dtype],
    n_batch: Int,
    n_rows: Int,
    n_columns: Int,
    box_rows: Int,
    ctx: DeviceContext,
) raises -> TMADescriptor:
    """[n_batch, n_rows, n_columns] in boxes of `box_rows` rows of 64; what lies outside is zero."""
    return create_tma_descriptor[dtype, 3, TensorMapSwizzle.SWIZZLE_128B](
        DeviceBuffer[dtype](ctx, source, n_batch * n_rows * n_columns, owning=False),
        IndexList[3](n_batch, n_rows, n_columns),
        IndexList[3](n_rows * n_columns, n_columns, 1),
        IndexList[3](1, box_rows, ROW),
    )


def describe_tiles[
    dtype: DType
](
    source: Memory[dtype],
    n_rows: Int,
    n_columns: Int,
    box_rows: Int,
    box_tiles: Int,
    ctx: DeviceContext,
) raises -> TMADescriptor:
    """[n_rows, n_columns] as [n_columns / 64, n_rows, 64]: what was side by side in a box, one
    below the other."""
    return create_tma_descriptor[dtype, 3, TensorMapSwizzle.SWIZZLE_128B](
        DeviceBuffer[dtype](ctx, source, n_rows * n_columns, owning=False),
        IndexList[3](n_columns // ROW, n_rows, ROW),
        IndexList[3](ROW, n_columns, 1),
        IndexList[3](box_tiles, box_rows, ROW),
    )


@always_inline
def fetch_box[
    dtype: DType, n_blocks: Int
](
    tile: Shared[dtype],
    tensor: TMADescriptor,
    barrier: Barriers,
    column: Int32,
    row: Int32,
    batch: Int32,
    blocks: Int32,
):
    """Copy a box into this block, or to the same place in all of `blocks`, a mask over the cluster."""
    var source = Pointer(to=tensor)
    comptime to_many = ".multicast::cluster" if n_blocks > 1 else ""
    comptime copy = "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes" + (
        to_many + " [$0], [$1, {$3, $4, $5}], [$2]" + (", $6;" if n_blocks > 1 else ";")
    )
    comptime if n_blocks > 1:
        inlined_assembly[copy, NoneType, constraints="r,l,r,r,r,r,h"](
            Int32(Int(tile)), source, Int32(Int(barrier)), column, row, batch, Int16(blocks)
        )
    else:
        inlined_assembly[copy, NoneType, constraints="r,l,r,r,r,r"](
            Int32(Int(tile)), source, Int32(Int(barrier)), column, row, batch
        )


@always_inline
def fetch_line(place: Shared[F32], source: Floats, barrier: Barriers, n_bytes: Int32):
    """Copy neighbours, 16 bytes or a multiple, aligned to as many."""
    inlined_assembly[
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [$0], [$1], $3, [$2];",
        NoneType,
        constraints="r,l,r,r",
    ](Int32(Int(place)), source, Int32(Int(barrier)), n_bytes)


@always_inline
def warm_line(source: Memory, n_bytes: Int32):
    """Bring neighbours into the device's cache, as many as above."""
    inlined_assembly[
        "cp.async.bulk.prefetch.L2.global [$0], $1;", NoneType, constraints="l,r"
    ](source, n_bytes)


@always_inline
def prepare_barrier(barrier: Barriers, n_arrivals: Int32):
    inlined_assembly["mbarrier.init.shared::cta.b64 [$0], $1;", NoneType, constraints="r,r"](
        Int32(Int(barrier)), n_arrivals
    )


@always_inline
def show_barriers():
    """Let the cluster and the copy engine see barriers that were prepared."""
    inlined_assembly["fence.mbarrier_init.release.cluster;", NoneType, constraints=""]()


@always_inline
def expect_bytes(barrier: Barriers, n_bytes: Int32):
    """Arrive; the barrier opens once so much has been copied."""
    inlined_assembly[
        "mbarrier.arrive.expect_tx.shared::cta.b64 _, [$0], $1;", NoneType, constraints="r,r"
    ](Int32(Int(barrier)), n_bytes)


@always_inline
def arrive_at(barrier: Barriers, block: Int32):
    """Arrive at that barrier of a block of the cluster."""
    inlined_assembly[
        "{ .reg .b32 place; mapa.shared::cluster.u32 place, $0, $1;"
        " mbarrier.arrive.shared::cluster.b64 _, [place]; }",
        NoneType,
        constraints="r,r",
    ](Int32(Int(barrier)), block)


@always_inline
def wait_at(barrier: Barriers, parity: Int32):
    """Wait until the barrier has opened once more: first with parity 0, then with 1, and so on."""
    inlined_assembly[
        "{ .reg .pred open; again: mbarrier.try_wait.parity.shared::cta.b64 open, [$0], $1;"
        " @open bra.uni done; bra.uni again; done: }",
        NoneType,
        constraints="r,r",
    ](Int32(Int(barrier)), parity)


@always_inline
def arrive_at_cluster():
    """Say that the cluster's other blocks need not wait for this thread."""
    inlined_assembly["barrier.cluster.arrive.relaxed;", NoneType, constraints=""]()


@always_inline
def wait_for_cluster():
    """Wait until all threads of the cluster have arrived; memory is not put in order."""
    inlined_assembly["barrier.cluster.wait;", NoneType, constraints=""]()


@always_inline
def tell(place: Shared[F32], barrier: Barriers, block: Int32, a: Float32, b: Float32):
    """Write two numbers to that place in a block of the cluster, whose barrier counts the bytes."""
    inlined_assembly[
        "{ .reg .b32 there, gate; mapa.shared::cluster.u32 there, $0, $2;"
        " mapa.shared::cluster.u32 gate, $1, $2;"
        " st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [there], {$3, $4}, [gate]; }",
        NoneType,
        constraints="r,r,r,f,f",
    ](Int32(Int(place)), Int32(Int(barrier)), block, a, b)
