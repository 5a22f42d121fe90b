"""Matmuls of tiles on Hopper's tensor cores (wgmma), from shared memory; sums in float32.

A tile has rows of 64 values of 2 bytes. Its rows are 128 bytes apart, and the eight 16-byte chunks
of a row are swizzled by the row's number, so that the tensor cores read without bank conflicts. A
tile begins at a multiple of 1024 bytes. The four warps of a warpgroup work on a matmul together.
"""
from max.gpu import WARP_SIZE
from max.gpu.compute.mma import WGMMADescriptor, wgmma_async
from max.gpu.host.nvidia.tma import TensorMapSwizzle
from std.memory import Pointer, bitcast
from std.sys import _RegisterPackType, inlined_assembly
from .pointers import F32, DevicePointer

comptime Shared[dtype: DType] = Pointer[Scalar[dtype], MutUntrackedOrigin, address_space=.SHARED]
comptime LANES = Int32(WARP_SIZE)
"""Threads of a warp, for indices of 32 bits."""
comptime WARPGROUP = 128
"""Threads that compute 64 rows together."""
comptime TILE_K = 64
"""Inputs of a step: values in a row of a tile."""
comptime CHUNK = 8
"""Values of a chunk of 16 bytes."""


@always_inline
def swizzled_offset(row: Int32, chunk: Int32) -> Int32:
    """Returns the offset in a tile of a row's chunk, swizzled."""
    return row * TILE_K + (chunk ^ (row % CHUNK)) * CHUNK


@always_inline
def cp_async_chunk[
    dtype: DType
](tile: Shared[dtype], to: Int32, source: DevicePointer[dtype], at: Int32, is_there: Bool):
    """Copies a chunk to shared memory asynchronously, or zeros where `is_there` is False.

    Args:
        tile: Tile in shared memory.
        to: Offset in the tile.
        source: Device memory.
        at: Offset there.
        is_there: False beyond the ends of the source.
    """
    inlined_assembly["cp.async.cg.shared.global [$0], [$1], 16, $2;", NoneType, constraints="r,l,r"](
        Int32(Int(tile)) + 2 * to,
        source.unsafe_offset(Int(at if is_there else Int32(0))),
        Int32(16) if is_there else Int32(0),
    )


@always_inline
def wgmma_descriptor[dtype: DType](tile: Shared[dtype]) -> WGMMADescriptor[dtype]:
    """Returns the wgmma descriptor of a tile: eight rows take 1024 bytes."""
    return WGMMADescriptor[dtype].create[64, 1, TensorMapSwizzle.SWIZZLE_128B](tile)


@always_inline
def wgmma_tile[
    dtype: DType, columns: Int
](
    a: WGMMADescriptor[dtype],
    b: WGMMADescriptor[dtype],
    mut sums: SIMD[F32, columns // 2],
):
    """Adds a b^T to the warpgroup's sums: a is [64, TILE_K], b [columns, TILE_K]."""
    comptime for k in range(TILE_K // 16):
        sums = wgmma_async[64, columns, 16, F32, columns // 2, a_type=dtype, b_type=dtype](
            a + k * 32, b + k * 32, sums
        )


@always_inline
def wgmma_square_tile[
    dtype: DType
](a: WGMMADescriptor[dtype], b: WGMMADescriptor[dtype], mut sums: SIMD[F32, 32]):
    """Adds a b^T to the warpgroup's sums, both [64, TILE_K]."""
    comptime for k in range(TILE_K // 16):
        sums = wgmma_async[64, 64, 16, F32, 32, a_type=dtype, b_type=dtype](
            a + k * 32, b + k * 32, sums
        )


@always_inline
def wgmma_from_registers[
    dtype: DType, transposed: Bool
](a: SIMD[dtype, 8], b: WGMMADescriptor[dtype], c: SIMD[F32, 32]) -> SIMD[F32, 32]:
    """Returns c + a b with a, 64 rows by 16, in the registers of a warpgroup.

    Parameters:
        dtype: Either float16 or bfloat16.
        transposed: False where b is 64 rows by 16 columns of a tile, to be transposed; True where
            it is 16 rows of a tile by its 64 columns.

    Args:
        a: The thread's part of the rows.
        b: Descriptor of the tile.
        c: The thread's sums.
    """
    comptime kind = "f16" if dtype == DType.float16 else "bf16"
    comptime F = Float32
    comptime template = "wgmma.mma_async.sync.aligned.m64n64k16.f32." + kind + "." + kind + (
        " {$0, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,"
        " $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31}, {$32, $33, $34, $35},"
        " $36, 1, 1, 1, $37;"
    )
    comptime places = (
        "=f,=f,=f,=f,=f,=f,=f,=f,=f,=f,=f,=f,=f,=f,=f,=f,=f,=f,=f,=f,=f,=f,=f,=f,=f,=f,=f,=f,=f,=f,"
        "=f,=f,r,r,r,r,l,n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,"
        "27,28,29,30,31"
    )
    var words = bitcast[DType.uint32, 4](a)
    var r = inlined_assembly[
        template,
        _RegisterPackType[
            F, F, F, F, F, F, F, F, F, F, F, F, F, F, F, F, F, F, F, F, F, F, F, F, F, F, F, F, F, F,
            F, F,
        ],
        constraints=places,
    ](
        words[0], words[1], words[2], words[3], b.desc, Int32(1 if transposed else 0),
        c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8], c[9], c[10], c[11], c[12], c[13],
        c[14], c[15], c[16], c[17], c[18], c[19], c[20], c[21], c[22], c[23], c[24], c[25], c[26],
        c[27], c[28], c[29], c[30], c[31],
    )
    var d = c
    comptime for i in range(32):
        d[i] = r[i]
    return d
