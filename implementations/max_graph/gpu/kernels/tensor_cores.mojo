"""Matrix products on Hopper's tensor cores, from tiles in shared memory; sums in float32.

A tile has rows of 64 values of 2 bytes. Its rows are 128 bytes apart, and the eight 16-byte chunks
of a row are swizzled by the row's number, as the tensor cores read them without conflicts; a tile
begins at a multiple of 1024 bytes. Four warps, a group, work on each product together.
"""
from max.gpu.compute.mma import WGMMADescriptor, wgmma_async
from max.gpu.host.nvidia.tma import TensorMapSwizzle
from std.memory import Pointer, bitcast
from std.sys import _RegisterPackType, inlined_assembly
from .pointers import F32, Memory

comptime Shared[dtype: DType] = Pointer[Scalar[dtype], MutUntrackedOrigin, address_space=.SHARED]
comptime GROUP = 128
"""Threads that compute a product of 64 rows together."""
comptime ROW = 64
"""Values in a row of a tile."""
comptime CHUNK = 8
"""Values in a chunk."""


@always_inline
def chunk_at(row: Int32, chunk: Int32) -> Int32:
    """Where in a tile a chunk begins."""
    return row * ROW + (chunk ^ (row % CHUNK)) * CHUNK


@always_inline
def fetch_chunk[
    dtype: DType
](tile: Shared[dtype], to: Int32, source: Memory[dtype], at: Int32, is_there: Bool):
    """Copy a chunk while others compute, or fill its place with zeros."""
    inlined_assembly["cp.async.cg.shared.global [$0], [$1], 16, $2;", NoneType, constraints="r,l,r"](
        Int32(Int(tile)) + 2 * to,
        source.unsafe_offset(Int(at if is_there else Int32(0))),
        Int32(16) if is_there else Int32(0),
    )


@always_inline
def power_of_two(x: Float32) -> Float32:
    """The hardware's own, right to two units in the last place."""
    return inlined_assembly[
        "ex2.approx.ftz.f32 $0, $1;", Float32, constraints="=f,f", has_side_effect=False
    ](x)


@always_inline
def one_over(x: Float32) -> Float32:
    """The hardware's own, right to one unit in the last place."""
    return inlined_assembly[
        "rcp.approx.ftz.f32 $0, $1;", Float32, constraints="=f,f", has_side_effect=False
    ](x)


@always_inline
def one_over_root(x: Float32) -> Float32:
    """The hardware's own, right to two units in the last place; std's calls a function."""
    return inlined_assembly[
        "rsqrt.approx.ftz.f32 $0, $1;", Float32, constraints="=f,f", has_side_effect=False
    ](x)


@always_inline
def quick_gelu(x: Float32) -> Float32:
    """GELU to 4e-6: the normal distribution's log odds, to the base 2, as an odd polynomial."""
    var z = x * x
    var odds = z.fma(Float32(-3.2289997e-06), Float32(8.823832e-05))
    odds = odds.fma(z, Float32(3.6027365e-04))
    odds = odds.fma(z, Float32(-1.0522669e-01))
    odds = odds.fma(z, Float32(-2.3020454e00))
    return x * one_over(1 + power_of_two(x * odds))


@always_inline
def describe[dtype: DType](tile: Shared[dtype]) -> WGMMADescriptor[dtype]:
    """The tile in the tensor cores' own words: eight rows take 1024 bytes."""
    return WGMMADescriptor[dtype].create[64, 1, TensorMapSwizzle.SWIZZLE_128B](tile)


@always_inline
def multiply_tiles[
    dtype: DType, columns: Int
](
    a: WGMMADescriptor[dtype],
    b: WGMMADescriptor[dtype],
    mut sums: SIMD[F32, columns // 2],
):
    """Add a row tile, 64 by 64, times the transposed `columns` by 64 tile to the group's sums."""
    comptime for k in range(ROW // 16):
        sums = wgmma_async[64, columns, 16, F32, columns // 2, a_type=dtype, b_type=dtype](
            a + k * 32, b + k * 32, sums
        )


@always_inline
def multiply_square[
    dtype: DType
](a: WGMMADescriptor[dtype], b: WGMMADescriptor[dtype], mut sums: SIMD[F32, 32]):
    """Add a row tile times a transposed tile, 64 by 64 both, to the group's sums."""
    comptime for k in range(ROW // 16):
        sums = wgmma_async[64, 64, 16, F32, 32, a_type=dtype, b_type=dtype](
            a + k * 32, b + k * 32, sums
        )


@always_inline
def multiply_held[
    dtype: DType, transposed: Bool
](a: SIMD[dtype, 8], b: WGMMADescriptor[dtype], c: SIMD[F32, 32]) -> SIMD[F32, 32]:
    """Add 64 rows by 16, held in registers, times 16 of a tile's columns, or rows, to the sums.

    A tile of 64 rows is used as 64 columns, or transposed: 16 of its rows by its 64 columns.
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
