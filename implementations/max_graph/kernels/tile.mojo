"""The register tile: the one multiply-accumulate loop that every product here is made of.

It multiplies a few rows by a span of columns and leaves the sums in registers; it neither splits
work nor stores results.
"""
from std.memory import Pointer
from std.sys.info import simd_width_of

comptime F32 = DType.float32
comptime PANEL = 32
"""Columns that lie side by side in memory: a weight or key panel is [depth, PANEL]."""
comptime WIDTH = min(simd_width_of[F32](), 16)
comptime SPAN = 2 * WIDTH
"""Columns of one tile; a panel is a whole number of spans on every CPU."""
comptime ROWS = 6 if WIDTH == 8 else 12
"""Rows of a full tile: as many as the registers hold (16 registers with AVX2, 32 elsewhere)."""

comptime Vector = SIMD[F32, WIDTH]
comptime Floats = Pointer[Float32, MutUntrackedOrigin]


@always_inline
def tile[
    rows: Int, b_type: DType
](
    a: Floats,
    a_stride: Int,
    b: Pointer[Scalar[b_type], MutUntrackedOrigin],
    b_stride: Int,
    depth: Int,
) -> Array[Vector, 2 * rows]:
    """Sums a[i, k] * b[k, j] over k for `rows` rows and SPAN columns."""
    var sums = Array[Vector, 2 * rows](fill=Vector(0))
    for k in range(depth):
        var low = b.unsafe_load[width=WIDTH](k * b_stride).cast[F32]()
        var high = b.unsafe_load[width=WIDTH](k * b_stride + WIDTH).cast[F32]()
        comptime for i in range(rows):
            var x = Vector(a.unsafe_load(i * a_stride + k))
            sums[2 * i] = x.fma(low, sums[2 * i])
            sums[2 * i + 1] = x.fma(high, sums[2 * i + 1])
    return sums^
