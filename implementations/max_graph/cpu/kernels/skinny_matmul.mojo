"""Matmuls of a few rows, as fast as the other factor can be read: the one loop of decoder steps.

Where many rows are worth a tile that fills all registers, see tile.mojo.
"""
from std.math import ceildiv
from std.memory import Pointer, bitcast
from std.sys.info import size_of
from .prefetch import prefetch_line
from .tile import F32, PANEL, SPAN, WIDTH, Floats, Vector

comptime N_ACCUMULATORS = 12 if WIDTH == 8 else 24
"""Sums that registers hold beside their factors."""
comptime N_PARTS = 4
"""Parts of each sum: every fourth product goes to the same one, whatever the number of rows.

A row's sum is thus made in one order, alone or beside others: the results are the same bits.
"""
comptime MAX_ROWS = N_ACCUMULATORS // N_PARTS
"""Rows of one pass over a span; more rows take further passes, while the span is in the cache."""
comptime AHEAD = 2048
"""Bytes from what is read to what is prefetched: the processor itself stops at a page's end."""


@no_inline
def skinny_tile[
    rows: Int, b_dtype: DType, n_vectors: Int = 2
](
    into: Floats,
    into_stride: Int,
    a: Floats,
    a_stride: Int,
    b: Pointer[Scalar[b_dtype], MutUntrackedOrigin],
    b_stride: Int,
    depth: Int,
):
    """Stores the sums of a[i, k] * b[k, j] over k, for `rows` rows and some vectors of columns.

    Few rows would leave the multipliers waiting for their own sums, so all parts of each sum are
    in registers.

    Parameters:
        rows: Rows of the tile, a few.
        b_dtype: Type of the right factor.
        n_vectors: Columns, in vectors; SPAN has two.

    Args:
        into: [rows, n_vectors * WIDTH].
        into_stride: Floats from one row of `into` to the next, as for the other strides.
        a: Left factor, [rows, depth].
        a_stride: See into_stride.
        b: Right factor, [depth, n_vectors * WIDTH].
        b_stride: See into_stride.
        depth: Length of the sums.
    """
    comptime n_sums = n_vectors * rows
    var sums = Array[Vector, n_sums * N_PARTS](fill=Vector(0))
    var whole = depth // N_PARTS * N_PARTS
    for k in range(0, whole, N_PARTS):
        comptime for u in range(N_PARTS):
            var line = b.unsafe_offset((k + u) * b_stride)
            comptime if u * PANEL * size_of[Scalar[b_dtype]]() % 64 == 0:
                prefetch_line(line.unsafe_offset(AHEAD // size_of[Scalar[b_dtype]]()))
            comptime for v in range(n_vectors):
                var factors = line.unsafe_load[width=WIDTH](v * WIDTH).cast[F32]()
                comptime for i in range(rows):
                    comptime at = u * n_sums + i * n_vectors + v
                    sums[at] = Vector(a.unsafe_load(i * a_stride + k + u)).fma(factors, sums[at])
    for k in range(whole, depth):
        var line = b.unsafe_offset(k * b_stride)
        comptime for v in range(n_vectors):
            var factors = line.unsafe_load[width=WIDTH](v * WIDTH).cast[F32]()
            comptime for i in range(rows):
                comptime at = i * n_vectors + v
                sums[at] = Vector(a.unsafe_load(i * a_stride + k)).fma(factors, sums[at])
    comptime for i in range(rows):
        comptime for v in range(n_vectors):
            var total = sums[i * n_vectors + v]
            comptime for u in range(1, N_PARTS):
                total += sums[u * n_sums + i * n_vectors + v]
            into.unsafe_store(i * into_stride + v * WIDTH, total)


@no_inline
def skinny_tile_pairs[
    rows: Int
](
    into: Floats,
    into_stride: Int,
    a: Floats,
    a_stride: Int,
    b: Pointer[UInt32, MutUntrackedOrigin],
    b_stride: Int,
    depth: Int,
):
    """Does the work of `skinny_tile` for pairs of bfloat16: a column's next two lie side by side.

    Widened, the first of a pair is its lower half moved up, the second what the upper half is. Each
    sum has two parts, whatever the number of rows.
    """
    var sums = Array[Vector, 4 * rows](fill=Vector(0))
    for pair in range(depth // 2):
        var line = b.unsafe_offset(pair * b_stride)
        comptime for half in range(2):
            prefetch_line(line.unsafe_offset(half * WIDTH + AHEAD // 4))
            var both = line.unsafe_load[width=WIDTH](half * WIDTH)
            var first = bitcast[F32, WIDTH](both << 16)
            var second = bitcast[F32, WIDTH](both & 0xFFFF0000)
            comptime for i in range(rows):
                comptime at = 2 * i + half
                var x = a.unsafe_offset(i * a_stride + 2 * pair)
                sums[at] = Vector(x.unsafe_load(0)).fma(first, sums[at])
                comptime other = at + 2 * rows
                sums[other] = Vector(x.unsafe_load(1)).fma(second, sums[other])
    comptime for i in range(rows):
        comptime for half in range(2):
            var total = sums[2 * i + half] + sums[2 * i + half + 2 * rows]
            into.unsafe_store(i * into_stride + half * WIDTH, total)


@always_inline
def skinny_matmul[
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
    """Does the work of `skinny_tile` for any number of rows; bfloat16 is in pairs of rows."""
    comptime most = N_ACCUMULATORS // 4 if b_dtype == DType.bfloat16 else MAX_ROWS
    var row = 0
    for pass_left in reversed(range(1, ceildiv(n_rows, most) + 1)):
        var n = ceildiv(n_rows - row, pass_left)
        var to = into.unsafe_offset(row * into_stride)
        var x = a.unsafe_offset(row * a_stride)
        comptime for rows in range(1, most + 1):
            if n == rows:
                comptime if b_dtype == DType.bfloat16:
                    var pairs = b.unsafe_bitcast[UInt32]()
                    skinny_tile_pairs[rows](to, into_stride, x, a_stride, pairs, b_stride, depth)
                elif 2 * rows * N_PARTS <= N_ACCUMULATORS:
                    skinny_tile[rows, b_dtype](to, into_stride, x, a_stride, b, b_stride, depth)
                else:
                    comptime for v in range(2):
                        skinny_tile[rows, b_dtype, 1](
                            to.unsafe_offset(v * WIDTH), into_stride, x, a_stride,
                            b.unsafe_offset(v * WIDTH), b_stride, depth,
                        )
        row += n
