"""Products of a block of rows with panels of weights, and what becomes of their sums.

Sums lie in memory as [n_rows, PANEL], a panel of columns at a time, so that they are added to, and
finished, in the cache. It splits no work and knows no layer.
"""
from extensibility import ManagedTensorSlice
from std.math import ceildiv
from .amx import Halves, multiply_tiles
from .fetch import fetch_part
from .row_block import Numbers, RowBlock, chunk_of, pair_of, rows_of, stride_of
from .tile import F32, PANEL, ROWS, SPAN, WIDTH, Floats, Vector, floats

comptime span_of[dtype: DType] = PANEL if dtype == DType.bfloat16 else SPAN
"""Columns of a tile."""
comptime computed_in[w_dtype: DType] = w_dtype if w_dtype == DType.bfloat16 else F32
"""What the factors are when products are computed; sums are in float32."""


@no_inline
def multiply_rows(
    into: Floats,
    into_stride: Int,
    start: Floats,
    start_stride: Int,
    a: Floats,
    a_chunk: Int,
    b: Floats,
    b_stride: Int,
    depth: Int,
):
    """Stores start[i, j] and the sums of a[i, k] * b[k, j] over k: ROWS rows and SPAN columns.

    With a start_stride of zero all rows start alike. Sums always start from memory: where they
    start from zeros that the compiler knows, it has been seen to keep them on the stack.
    """
    var sums = Array[Vector, 2 * ROWS](fill=Vector(0))
    comptime for i in range(ROWS):
        sums[2 * i] = start.unsafe_load[width=WIDTH](i * start_stride)
        sums[2 * i + 1] = start.unsafe_load[width=WIDTH](i * start_stride + WIDTH)
    var row = b
    comptime n = chunk_of[F32]
    for first in range(0, depth, n):
        var chunk = a.unsafe_offset(first // n * a_chunk)
        for k in range(min(n, depth - first)):
            var low = row.unsafe_load[width=WIDTH](0)
            var high = row.unsafe_load[width=WIDTH](WIDTH)
            row = row.unsafe_offset(b_stride)
            comptime for i in range(ROWS):
                var x = Vector(chunk.unsafe_load(i * stride_of[F32] + k))
                sums[2 * i] = x.fma(low, sums[2 * i])
                sums[2 * i + 1] = x.fma(high, sums[2 * i + 1])
    comptime for i in range(ROWS):
        into.unsafe_store(i * into_stride, sums[2 * i])
        into.unsafe_store(i * into_stride + WIDTH, sums[2 * i + 1])


@always_inline
def multiply[
    dtype: DType
](
    into: Floats,
    into_stride: Int,
    start: Floats,
    start_stride: Int,
    a: Numbers[dtype],
    a_chunk: Int,
    b: Numbers[dtype],
    b_stride: Int,
    depth: Int,
):
    """As `multiply_rows`, for rows_of[dtype] rows and span_of[dtype] columns."""
    comptime if dtype == DType.bfloat16:
        multiply_tiles(
            into,
            into_stride,
            start,
            start_stride,
            rebind[Halves](a),
            a_chunk,
            rebind[Halves](b),
            b_stride,
            depth,
        )
    else:
        multiply_rows(
            into,
            into_stride,
            start,
            start_stride,
            rebind[Floats](a),
            a_chunk,
            rebind[Floats](b),
            b_stride,
            depth,
        )


@always_inline
def weights_of(
    panels: ManagedTensorSlice,
    scales: ManagedTensorSlice[dtype=F32, ...],
    bias: ManagedTensorSlice[dtype=F32, ...],
) -> Weights[panels.dtype, computed_in[panels.dtype]]:
    """The weights of a layer from the three tensors that hold them."""
    return Weights[panels.dtype, computed_in[panels.dtype]](
        rebind[Numbers[panels.dtype]](panels.unsafe_ptr()),
        floats(scales),
        floats(bias),
        bias.dim_size(0),
        panels.dim_size(1),
        True,
        1,
    )


@fieldwise_init
struct Weights[w_dtype: DType, dtype: DType](
    Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """A matrix in panels [n_panels, depth, PANEL], and its bias; for AMX in pairs of rows."""

    var panels: Numbers[Self.w_dtype]
    var scales: Floats
    """Of integers, one for each column of the panels."""
    var bias: Floats
    var n_out: Int
    var depth: Int
    var has_bias: Bool
    var ahead: Int
    """How many panels further lies the one that is likely to be next."""

    @always_inline
    def n_panels(self) -> Int:
        return ceildiv(self.n_out, PANEL)

    @always_inline
    def widened(self, source: Numbers[Self.w_dtype], k: Int, column: Int, panel: Int) -> Vector:
        """Neighbouring columns of a panel at depth k, from source on."""
        var w = source.unsafe_load[width=WIDTH](k * PANEL + column).cast[F32]()
        comptime if Self.w_dtype.is_integral():
            w *= self.scales.unsafe_load[width=WIDTH](panel * PANEL + column)
        return w

    def add(
        self,
        sums: Floats,
        x: RowBlock[Self.dtype],
        n_rows: Int,
        panel: Int,
        first: Int,
        depth: Int,
        room: Numbers[Self.dtype],
    ):
        """Adds the products of a block, whose columns are those from first on, with a panel.

        The first of them start from the bias. `room` is for (depth + 2) * PANEL numbers.
        """
        var bias = room.unsafe_bitcast[Float32]()
        for j in range(PANEL):
            var column = panel * PANEL + j
            var is_there = self.has_bias and column < self.n_out
            bias.unsafe_store(j, self.bias.unsafe_load(column) if is_there else 0)
        var source = self.panels.unsafe_offset((panel * self.depth + first) * PANEL)
        var b: Numbers[Self.dtype]
        comptime if Self.w_dtype == Self.dtype:
            b = rebind[Numbers[Self.dtype]](source)
        else:
            b = room.unsafe_offset(2 * PANEL)
            for k in range(0, depth, pair_of[Self.dtype]):
                for j in range(0, PANEL, WIDTH):
                    var low = self.widened(source, k, j, panel)
                    comptime if pair_of[Self.dtype] == 2:
                        var high = self.widened(source, k + 1, j, panel)
                        b.unsafe_store(k * PANEL + 2 * j, low.interleave(high).cast[Self.dtype]())
                    else:
                        b.unsafe_store(k * PANEL + j, low.cast[Self.dtype]())
        var after = source.unsafe_offset(self.ahead * self.depth * PANEL)
        var n_tiles = ceildiv(n_rows, rows_of[Self.dtype])
        for i in range(n_tiles):
            fetch_part(after, depth * PANEL, i, n_tiles)
            var row = i * rows_of[Self.dtype]
            for column in range(0, PANEL, span_of[Self.dtype]):
                var into = sums.unsafe_offset(row * PANEL + column)
                multiply[Self.dtype](
                    into,
                    PANEL,
                    into if first > 0 else bias.unsafe_offset(column),
                    PANEL if first > 0 else 0,
                    x.at(row, 0),
                    x.n_capacity * stride_of[Self.dtype],
                    b.unsafe_offset(column),
                    PANEL,
                    depth,
                )


@always_inline
def store_rows(
    into: Floats, residual: Floats, stride: Int, sums: Floats, n_rows: Int, n_columns: Int
):
    """Stores n_columns of sums [n_rows, PANEL] plus the residual's; rows are `stride` apart."""
    for row in range(n_rows):
        var to = into.unsafe_offset(row * stride)
        var x = residual.unsafe_offset(row * stride)
        var y = sums.unsafe_offset(row * PANEL)
        if n_columns == PANEL:
            comptime for j in range(0, PANEL, WIDTH):
                to.unsafe_store(j, x.unsafe_load[width=WIDTH](j) + y.unsafe_load[width=WIDTH](j))
        else:
            for j in range(n_columns):
                to.unsafe_store(j, x.unsafe_load(j) + y.unsafe_load(j))


@always_inline
def copy_rows(into: Floats, stride: Int, sums: Floats, n_rows: Int, n_columns: Int):
    """Stores sums [n_rows, PANEL], n_columns of them, to rows that lie `stride` floats apart."""
    for row in range(n_rows):
        var to = into.unsafe_offset(row * stride)
        var y = sums.unsafe_offset(row * PANEL)
        if n_columns == PANEL:
            comptime for j in range(0, PANEL, WIDTH):
                to.unsafe_store(j, y.unsafe_load[width=WIDTH](j))
        else:
            for j in range(n_columns):
                to.unsafe_store(j, y.unsafe_load(j))
