"""Accumulators of wgmma, 64 rows of a warpgroup: their moments, additions and stores.

Each thread has a quarter of two rows, eight apart: of every eight columns two neighbours.
"""
import max.gpu.primitives.warp as warp
from std.memory import bitcast
from .layer_norm import EPSILON
from .math import rsqrt_approx
from .pointers import F32, DevicePointer, FloatPointer, load
from .wgmma import Shared


@always_inline
def row_moments[
    n_tiles: Int
](sums: Array[SIMD[F32, 32], n_tiles], mut mean: SIMD[F32, 2], mut scale: SIMD[F32, 2]):
    """Computes layer norm's mean of two rows and one over their deviation.

    Parameters:
        n_tiles: Tiles of 64 columns in a row.

    Args:
        sums: Accumulators.
        mean: Filled with the means.
        scale: Filled with the inverse deviations.
    """
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
        scale[half] = rsqrt_approx(scale[half] * share + EPSILON)


@always_inline
def add_row[
    n_tiles: Int, //, half: Int
](mut sums: Array[SIMD[F32, 32], n_tiles], source: FloatPointer):
    """Adds a row of a residual to one of the two rows.

    Parameters:
        n_tiles: Tiles of 64 columns in a row.
        half: Which of the two rows.

    Args:
        sums: Accumulators.
        source: The residual's row, from the thread's first column on.
    """
    comptime for t in range(n_tiles):
        comptime for j in range(8):
            var pair = load[2](source, t * 64 + j * 8)
            comptime for i in range(2):
                sums[t][j * 4 + half * 2 + i] += pair[i]


@always_inline
def add_bias[n_tiles: Int, //](mut sums: Array[SIMD[F32, 32], n_tiles], source: Shared[F32]):
    """Adds a bias to both rows; the source begins at the thread's first column."""
    comptime for t in range(n_tiles):
        comptime for j in range(8):
            var pair = source.unsafe_load[width=2, alignment=8](t * 64 + j * 8)
            comptime for i in range(4):
                sums[t][j * 4 + i] += pair[i % 2]


@always_inline
def store_row[
    out_type: DType, width: Int, half: Int
](to: DevicePointer[out_type], sums: SIMD[F32, width], lane: Int32, is_there: Bool):
    """Stores a row of which four lanes hold two neighbours of every eight columns.

    In half precision lanes exchange values, so that each stores four neighbours.

    Parameters:
        out_type: Of the output.
        width: Sums of a thread, in both rows.
        half: Which of the two rows.

    Args:
        to: The row.
        sums: Accumulators.
        lane: The thread's lane.
        is_there: False for a row beyond the last one.
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
