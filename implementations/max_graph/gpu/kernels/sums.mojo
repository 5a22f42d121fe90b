"""A group's sums of 64 rows, as the tensor cores leave them: their moments, what is added, where they are stored.

Each thread has a quarter of two rows, eight apart: of every eight columns two neighbours.
"""
import max.gpu.primitives.warp as warp
from std.memory import bitcast
from .pointers import F32, Floats, Memory, load
from .tensor_cores import Shared, one_over_root


@always_inline
def find_moments[
    n_tiles: Int
](sums: Array[SIMD[F32, 32], n_tiles], mut mean: SIMD[F32, 2], mut scale: SIMD[F32, 2]):
    """Mean of two rows, 64 columns a tile, and one over their deviation, as layer norm has it."""
    comptime share = Float32(1) / Float32(64 * n_tiles)
    mean = 0
    scale = 0
    comptime for t in range(n_tiles):
        comptime for i in range(32):
            mean[i // 2 % 2] += sums[t][i]
    comptime for half in range(2):
        mean[half] += warp.shuffle_xor(mean[half], 1)
        mean[half] += warp.shuffle_xor(mean[half], 2)
        mean[half] *= share
    comptime for t in range(n_tiles):
        comptime for i in range(32):
            scale[i // 2 % 2] += (sums[t][i] - mean[i // 2 % 2]) ** 2
    comptime for half in range(2):
        scale[half] += warp.shuffle_xor(scale[half], 1)
        scale[half] += warp.shuffle_xor(scale[half], 2)
        scale[half] = one_over_root(scale[half] * share + 1e-5)


@always_inline
def add_line[
    n_tiles: Int, //, half: Int
](mut sums: Array[SIMD[F32, 32], n_tiles], source: Floats):
    """Add one of two rows, 64 columns a tile, from the first number that is the thread's."""
    comptime for t in range(n_tiles):
        comptime for j in range(8):
            var pair = load[2](source, t * 64 + j * 8)
            comptime for i in range(2):
                sums[t][j * 4 + half * 2 + i] += pair[i]


@always_inline
def add_bias[n_tiles: Int, //](mut sums: Array[SIMD[F32, 32], n_tiles], source: Shared[F32]):
    """Add the same to all rows, from the first number that is the thread's."""
    comptime for t in range(n_tiles):
        comptime for j in range(8):
            var pair = source.unsafe_load[width=2, alignment=8](t * 64 + j * 8)
            comptime for i in range(4):
                sums[t][j * 4 + i] += pair[i % 2]


@always_inline
def store_line[
    out_type: DType, width: Int, half: Int
](to: Memory[out_type], sums: SIMD[F32, width], lane: Int32, is_there: Bool):
    """Write a group's part of a row, of which four lanes hold two neighbours of every eight.

    In half precision they swap, so that each writes four neighbours.
    """
    comptime if out_type == F32:
        var place = to.unsafe_offset(Int(lane % 4 * 2))
        if is_there:
            comptime for j in range(width // 4):
                var pair = SIMD[F32, 2](sums[j * 4 + half * 2], sums[j * 4 + half * 2 + 1])
                place.unsafe_store[width=2, alignment=8](j * 8, pair.cast[out_type]())
    else:
        var place = to.unsafe_offset(Int(lane % 4 // 2 * 4 + lane % 2 * 8))
        comptime for j in range(0, width // 4, 2):
            comptime at = j * 4 + half * 2
            var a = bitcast[DType.uint32, 1](SIMD[F32, 2](sums[at], sums[at + 1]).cast[out_type]())
            var b = bitcast[DType.uint32, 1](
                SIMD[F32, 2](sums[at + 4], sums[at + 5]).cast[out_type]()
            )
            var is_odd = lane % 2 == 1
            var got = warp.shuffle_xor(a if is_odd else b, 1)
            var four = SIMD[DType.uint32, 2](got, b) if is_odd else SIMD[DType.uint32, 2](a, got)
            if is_there:
                place.unsafe_store[width=4, alignment=8](j * 8, bitcast[out_type, 4](four))
