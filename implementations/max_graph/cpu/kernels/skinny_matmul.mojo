"""Matmuls of a few rows, as fast as the other factor can be read: the one loop of decoder steps.

Where many rows are worth a tile that fills all registers, see tile.mojo.
"""
from std.memory import Pointer, bitcast, unsafe_stack_allocation
from std.sys.info import size_of
from .prefetch import prefetch_line
from .tile import F32, PANEL, SPAN, WIDTH, Floats, Vector

comptime MAX_ROWS = 6 if WIDTH == 8 else 8
"""Rows of one pass over a span; more rows take further passes, while the span is in the cache."""
comptime N_ACCUMULATORS = 12 if WIDTH == 8 else 24
"""Sums that registers hold beside their factors."""
comptime N_PARTS = 4
"""Parts of each sum: every fourth product goes to the same one, whatever the number of rows.

A row's sum is thus made in one order, alone or beside others: the results are the same bits.
"""
comptime BLOCK_LINES = 64
"""Lines of a block, 8 KB in float32."""
comptime AHEAD = 2048
"""Bytes from what is read to what is prefetched: the processor itself stops at a page's end."""


@no_inline
def skinny_tile[
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

    Few rows would leave the multipliers waiting for their own sums, so all parts of each sum are
    in registers.

    Parameters:
        rows: Rows of the tile, a few.
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
    var sums = Array[Vector, 2 * rows * N_PARTS](fill=Vector(0))
    var whole = depth // N_PARTS * N_PARTS
    for k in range(0, whole, N_PARTS):
        comptime for u in range(N_PARTS):
            var line = b.unsafe_offset((k + u) * b_stride)
            comptime if u * PANEL * size_of[Scalar[b_dtype]]() % 64 == 0:
                prefetch_line(line.unsafe_offset(AHEAD // size_of[Scalar[b_dtype]]()))
            var low = line.unsafe_load[width=WIDTH](0).cast[F32]()
            var high = line.unsafe_load[width=WIDTH](WIDTH).cast[F32]()
            comptime for i in range(rows):
                comptime at = 2 * (u * rows + i)
                var x = Vector(a.unsafe_load(i * a_stride + k + u))
                sums[at] = x.fma(low, sums[at])
                sums[at + 1] = x.fma(high, sums[at + 1])
    for k in range(whole, depth):
        var line = b.unsafe_offset(k * b_stride)
        var low = line.unsafe_load[width=WIDTH](0).cast[F32]()
        var high = line.unsafe_load[width=WIDTH](WIDTH).cast[F32]()
        comptime for i in range(rows):
            var x = Vector(a.unsafe_load(i * a_stride + k))
            sums[2 * i] = x.fma(low, sums[2 * i])
            sums[2 * i + 1] = x.fma(high, sums[2 * i + 1])
    comptime for i in range(rows):
        comptime for half in range(2):
            var total = sums[2 * i + half]
            comptime for u in range(1, N_PARTS):
                total += sums[2 * (u * rows + i) + half]
            into.unsafe_store(i * into_stride + half * WIDTH, total)


@no_inline
def skinny_tile_by_parts[
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
    """Does the work of `skinny_tile` for more rows, with one part of the sums in registers.

    It goes by blocks of lines that stay in the first cache while the parts take turns; while one
    block is multiplied, the lines of the next are on their way.
    """
    comptime n_sums = 2 * rows
    var parts = unsafe_stack_allocation[N_PARTS * n_sums * WIDTH, Float32, alignment=64]()
    for i in range(N_PARTS * n_sums):
        parts.unsafe_store(i * WIDTH, Vector(0))
    var whole = depth // N_PARTS * N_PARTS
    for first in range(0, whole, BLOCK_LINES):
        var stop = min(first + BLOCK_LINES, whole)
        for part in range(N_PARTS):
            var held = parts.unsafe_offset(part * n_sums * WIDTH)
            var sums = Array[Vector, n_sums](fill=Vector(0))
            comptime for i in range(n_sums):
                sums[i] = held.unsafe_load[width=WIDTH](i * WIDTH)
            for k in range(first + part, stop, N_PARTS):
                var line = b.unsafe_offset(k * b_stride)
                var next = line.unsafe_offset(BLOCK_LINES * b_stride)
                comptime for byte in range(0, SPAN * size_of[Scalar[b_dtype]](), 64):
                    prefetch_line(next.unsafe_offset(byte // size_of[Scalar[b_dtype]]()))
                multiply_line[rows, b_dtype](sums, a.unsafe_offset(k), a_stride, line)
            comptime for i in range(n_sums):
                held.unsafe_store(i * WIDTH, sums[i])
    var sums = Array[Vector, n_sums](fill=Vector(0))
    comptime for i in range(n_sums):
        sums[i] = parts.unsafe_load[width=WIDTH](i * WIDTH)
    for k in range(whole, depth):
        var line = b.unsafe_offset(k * b_stride)
        multiply_line[rows, b_dtype](sums, a.unsafe_offset(k), a_stride, line)
    comptime for i in range(rows):
        comptime for half in range(2):
            var total = sums[2 * i + half]
            comptime for u in range(1, N_PARTS):
                comptime at = (u * n_sums + 2 * i + half) * WIDTH
                total += parts.unsafe_load[width=WIDTH](at)
            into.unsafe_store(i * into_stride + half * WIDTH, total)


@always_inline
def multiply_line[
    rows: Int, b_dtype: DType
](
    mut sums: Array[Vector, 2 * rows],
    a: Floats,
    a_stride: Int,
    line: Pointer[Scalar[b_dtype], MutUntrackedOrigin],
):
    """Adds a column of the left factor times a line of the right one."""
    var low = line.unsafe_load[width=WIDTH](0).cast[F32]()
    var high = line.unsafe_load[width=WIDTH](WIDTH).cast[F32]()
    comptime for i in range(rows):
        var x = Vector(a.unsafe_load(i * a_stride))
        sums[2 * i] = x.fma(low, sums[2 * i])
        sums[2 * i + 1] = x.fma(high, sums[2 * i + 1])


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
    for row in range(0, n_rows, most):
        comptime for rows in range(1, most + 1):
            if min(most, n_rows - row) == rows:
                var to = into.unsafe_offset(row * into_stride)
                var x = a.unsafe_offset(row * a_stride)
                comptime if b_dtype == DType.bfloat16:
                    var pairs = b.unsafe_bitcast[UInt32]()
                    skinny_tile_pairs[rows](to, into_stride, x, a_stride, pairs, b_stride, depth)
                elif 2 * rows * N_PARTS <= N_ACCUMULATORS:
                    skinny_tile[rows, b_dtype](to, into_stride, x, a_stride, b, b_stride, depth)
                else:
                    skinny_tile_by_parts[rows, b_dtype](
                        to, into_stride, x, a_stride, b, b_stride, depth
                    )
