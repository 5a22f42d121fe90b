"""The register tile: the one multiply-accumulate loop that every product here is made of.

It multiplies a few rows by a span of columns; it neither splits work nor knows what it is for.
"""
from extensibility import ManagedTensorSlice
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


@no_inline
def tile[
    rows: Int, b_type: DType
](
    into: Floats,
    into_stride: Int,
    a: Floats,
    a_stride: Int,
    b: Pointer[Scalar[b_type], MutUntrackedOrigin],
    b_stride: Int,
    depth: Int,
):
    """Stores the sums of a[i, k] * b[k, j] over k, for `rows` rows and SPAN columns.

    Not inlined: its callers would each carry a copy of every size, and compiling is what users wait
    for. Results pass through memory, which is nothing beside the loop.
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
def span[
    b_type: DType
](
    n_rows: Int,
    into: Floats,
    into_stride: Int,
    a: Floats,
    a_stride: Int,
    b: Pointer[Scalar[b_type], MutUntrackedOrigin],
    b_stride: Int,
    depth: Int,
):
    """As `tile`, for any number of rows up to ROWS."""
    if n_rows == ROWS:
        return tile[ROWS, b_type](into, into_stride, a, a_stride, b, b_stride, depth)
    var row = 0
    while row + 4 <= n_rows:
        tile[4, b_type](
            into.unsafe_offset(row * into_stride),
            into_stride,
            a.unsafe_offset(row * a_stride),
            a_stride,
            b,
            b_stride,
            depth,
        )
        row += 4
    while row < n_rows:
        tile[1, b_type](
            into.unsafe_offset(row * into_stride),
            into_stride,
            a.unsafe_offset(row * a_stride),
            a_stride,
            b,
            b_stride,
            depth,
        )
        row += 1


@always_inline
def floats(tensor: ManagedTensorSlice[dtype=F32, ...]) -> Floats:
    """Where a tensor's numbers begin."""
    return rebind[Floats](tensor.unsafe_ptr())
