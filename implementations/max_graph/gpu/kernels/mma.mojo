"""Matmuls of tiles by the tensor cores of every NVIDIA GPU since Ampere (`mma.sync`).

A warp multiplies 16 rows of 16 values with 8 columns, with sums in float32. Tiles lie in shared
memory, in rows of `depth` values of two bytes whose chunks of 16 bytes are swizzled, so that eight
rows are read at once without bank conflicts. They come by `cp.async`.
"""
from std.memory import Pointer, bitcast
from std.sys import _RegisterPackType, inlined_assembly
from .pointers import F32, DevicePointer
from .wgmma import CHUNK, Shared

comptime MAX_SHARED_BYTES = 96 * 1024
"""Shared memory that a block takes at most; GPUs of 8.6, 8.9 and 12.0 give it 99 KB."""
comptime Fragment = SIMD[DType.uint32, 4]
"""A lane's part of 16 rows by 16 values, or of two tiles of 8 columns by 16 values."""


@always_inline
def shared_address[dtype: DType](tile: Shared[dtype]) -> Int32:
    """Returns the address that instructions for shared memory take."""
    return Int32(Int(tile))


@always_inline
def swizzle[depth: Int](row: Int32) -> Int32:
    """Returns what the numbers of a row's chunks are exclusive-ored with.

    Parameters:
        depth: Values of a row: 64, or 32, where two rows share the 128 bytes of all banks.

    Args:
        row: Row of the tile.
    """
    comptime assert depth == 64 or depth == 32, "rows have 128 or 64 bytes"
    comptime if depth == 64:
        return row % 8
    else:
        return row // 2 % 4


@always_inline
def copy_chunk[dtype: DType](to: Int32, source: DevicePointer[dtype], at: Int, is_there: Bool):
    """Copies a chunk to an address in shared memory asynchronously, or zeros.

    Args:
        to: Address in shared memory.
        source: Device memory.
        at: Offset there.
        is_there: False beyond the ends of the source, where zeros are written.
    """
    inlined_assembly[
        "cp.async.cg.shared.global [$0], [$1], 16, $2;", NoneType, constraints="r,l,r"
    ](
        to,
        source.unsafe_offset(at if is_there else 0),
        Int32(16) if is_there else Int32(0),
    )


@always_inline
def load_fragment[transposed: Bool = False](address: Int32) -> Fragment:
    """Returns four matrices of 8 by 8, each of whose rows is at the address of a lane.

    Parameters:
        transposed: True where a lane gets two neighbours of a column rather than of a row.

    Args:
        address: The lane's row: lanes 0 to 7 give those of the first matrix, and so on.
    """
    comptime kind = ".trans" if transposed else ""
    comptime U = UInt32
    var r = inlined_assembly[
        "ldmatrix.sync.aligned.m8n8.x4" + kind + ".shared.b16 {$0, $1, $2, $3}, [$4];",
        _RegisterPackType[U, U, U, U],
        constraints="=r,=r,=r,=r,r",
    ](address)
    return Fragment(r[0], r[1], r[2], r[3])


@always_inline
def mma[
    dtype: DType
](a: Fragment, b0: UInt32, b1: UInt32, c: SIMD[F32, 4]) -> SIMD[F32, 4]:
    """Returns c + a b of 16 rows and 8 columns.

    Parameters:
        dtype: Either float16 or bfloat16.

    Args:
        a: 16 rows of 16 values.
        b0: The first 8 values of 8 columns.
        b1: The other 8.
        c: Sums: two neighbours of a row, then two of the row eight below.
    """
    comptime kind = "f16" if dtype == DType.float16 else "bf16"
    comptime F = Float32
    var r = inlined_assembly[
        "mma.sync.aligned.m16n8k16.row.col.f32." + kind + "." + kind + ".f32"
        " {$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};",
        _RegisterPackType[F, F, F, F],
        constraints="=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f",
        has_side_effect=False,
    ](a[0], a[1], a[2], a[3], b0, b1, c[0], c[1], c[2], c[3])
    return SIMD[F32, 4](r[0], r[1], r[2], r[3])
