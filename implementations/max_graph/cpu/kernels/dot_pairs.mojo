"""Matmuls of bfloat16 by AVX-512's dot products of pairs, summed in float32.

The layouts are those of amx.mojo: columns of the left factor lie in chunks, and the right one in
pairs of rows, each column's two numbers side by side. An instruction adds both of their products.
"""
from std.memory import Pointer, bitcast
from std.sys.intrinsics import llvm_intrinsic
from .amx import STEP, Halves
from .tile import F32, ROWS, WIDTH, Floats, Vector

comptime Pairs = SIMD[DType.bfloat16, 2 * WIDTH]


@always_inline
def add_pairs(sums: Vector, a: Pairs, b: Pairs) -> Vector:
    """Adds to each sum the products of the two numbers of a pair: vdpbf16ps."""
    return llvm_intrinsic["llvm.x86.avx512bf16.dpbf16ps.512", Vector](sums, a, b)


@no_inline
def gemm_tile_pairs(
    into: Floats,
    into_stride: Int,
    start: Floats,
    start_stride: Int,
    a: Halves,
    a_chunk: Int,
    b: Halves,
    b_stride: Int,
    depth: Int,
):
    """Does the work of `gemm_tile_f32` in matmul.mojo for ROWS rows and 32 columns in bfloat16.

    Each STEP columns of a are a chunk, [rows, STEP]; depth is a multiple of STEP. For the arguments
    see `gemm_tile_f32`; b_stride is in columns.
    """
    var sums = Array[Vector, 2 * ROWS](fill=Vector(0))
    comptime for i in range(ROWS):
        sums[2 * i] = start.unsafe_load[width=WIDTH](i * start_stride)
        sums[2 * i + 1] = start.unsafe_load[width=WIDTH](i * start_stride + WIDTH)
    var left = a.unsafe_bitcast[UInt32]()
    var right = b
    for _ in range(0, depth, STEP):
        for pair in range(STEP // 2):
            var low = right.unsafe_load[width=2 * WIDTH](0)
            var high = right.unsafe_load[width=2 * WIDTH](2 * WIDTH)
            right = right.unsafe_offset(2 * b_stride)
            comptime for i in range(ROWS):
                var both = SIMD[DType.uint32, WIDTH](left.unsafe_load(i * STEP // 2 + pair))
                var x = bitcast[DType.bfloat16, 2 * WIDTH](both)
                sums[2 * i] = add_pairs(sums[2 * i], x, low)
                sums[2 * i + 1] = add_pairs(sums[2 * i + 1], x, high)
        left = left.unsafe_offset(a_chunk // 2)
    comptime for i in range(ROWS):
        into.unsafe_store(i * into_stride, sums[2 * i])
        into.unsafe_store(i * into_stride + WIDTH, sums[2 * i + 1])
