"""Sizes of vectors and tiles, and a register tile of a matmul with unpacked rows.

The tile multiplies a few rows by a span of columns; it neither splits work nor knows its use.
"""
from extensibility import ManagedTensorSlice
from std.memory import Pointer
from std.sys.info import simd_width_of

comptime F32 = DType.float32
comptime PANEL = 32
"""Columns that lie side by side in memory: a weight or key panel is [depth, PANEL]."""
comptime WIDTH = min(simd_width_of[F32](), 16)
"""Floats of a vector."""
comptime SPAN = 2 * WIDTH
"""Columns of one tile; a panel is a whole number of spans on every CPU."""
comptime ROWS = 6 if WIDTH == 8 else 12
"""Rows of a full tile: as many as the registers hold (16 registers with AVX2, 32 elsewhere)."""
comptime GROUP = 32
"""Inputs of a column of integers that share a scale; no share of one ends within N_PARTS."""
comptime LOWEST = Float32(-3e38)
"""Minus infinity for scores and logits: its exponential is zero, and differences are finite."""

comptime Vector = SIMD[F32, WIDTH]
comptime Floats = Pointer[Float32, MutUntrackedOrigin]


@no_inline
def matmul_tile[
    rows: Int, b_dtype: DType
](
    into: Floats,
    into_stride: Int,
    a: Floats,
    a_stride: Int,
    b: Pointer[Scalar[b_dtype], MutUntrackedOrigin],
    b_stride: Int,
    depth: Int,
):
    """Stores the sums of a[i, k] * b[k, j] over k, for `rows` rows and SPAN columns.

    Not inlined: its callers would each carry a copy of every size, and compiling is what users wait
    for. Results pass through memory, which is nothing beside the loop.

    Parameters:
        rows: Rows of the tile.
        b_dtype: Type of the right factor.

    Args:
        into: [rows, SPAN].
        into_stride: Floats from one row of `into` to the next, as for the other strides.
        a: Left factor, [rows, depth].
        a_stride: See into_stride.
        b: Right factor, [depth, SPAN].
        b_stride: See into_stride.
        depth: Length of the sums.
    """
    var sums = Array[Vector, 2 * rows](fill=Vector(0))
    for k in range(depth):
        var low = b.unsafe_load[width=WIDTH](k * b_stride).cast[F32]()
        var high = b.unsafe_load[width=WIDTH](k * b_stride + WIDTH).cast[F32]()
        comptime for i in range(rows):
            var x = Vector(a.unsafe_load(i * a_stride + k))
            sums[2 * i] = x.fma(low, sums[2 * i])
            sums[2 * i + 1] = x.fma(high, sums[2 * i + 1])
    comptime for i in range(rows):
        into.unsafe_store(i * into_stride, sums[2 * i])
        into.unsafe_store(i * into_stride + WIDTH, sums[2 * i + 1])


@always_inline
def matmul_span[
    b_dtype: DType
](
    n_rows: Int,
    into: Floats,
    into_stride: Int,
    a: Floats,
    a_stride: Int,
    b: Pointer[Scalar[b_dtype], MutUntrackedOrigin],
    b_stride: Int,
    depth: Int,
):
    """Does the work of `matmul_tile` for any number of rows up to ROWS."""
    if n_rows == ROWS:
        return matmul_tile[ROWS, b_dtype](into, into_stride, a, a_stride, b, b_stride, depth)
    var row = 0
    while row + 4 <= n_rows:
        var to = into.unsafe_offset(row * into_stride)
        var x = a.unsafe_offset(row * a_stride)
        matmul_tile[4, b_dtype](to, into_stride, x, a_stride, b, b_stride, depth)
        row += 4
    while row < n_rows:
        var to = into.unsafe_offset(row * into_stride)
        var x = a.unsafe_offset(row * a_stride)
        matmul_tile[1, b_dtype](to, into_stride, x, a_stride, b, b_stride, depth)
        row += 1


@always_inline
def floats(tensor: ManagedTensorSlice[dtype=F32, ...]) -> Floats:
    """Returns the address of a tensor's numbers."""
    return rebind[Floats](tensor.unsafe_ptr())
