"""Matmuls of a block of rows with panels of weights, and their epilogues.

Sums lie in memory as [n_rows, PANEL], a panel of columns at a time, so that they are added to, and
finished, in the cache. Nothing here splits work or knows a layer.
"""
from extensibility import ManagedTensorSlice
from std.math import ceildiv
from .amx import HAS_TILES, Halves, gemm_tile_amx
from .dot_pairs import gemm_tile_pairs
from .prefetch import prefetch_part
from .row_block import RowBlock, Scalars, chunk_of, pair_of, rows_of, stride_of
from .tile import F32, GROUP, PANEL, ROWS, SPAN, WIDTH, Floats, Vector, floats

comptime span_of[dtype: DType] = PANEL if dtype == DType.bfloat16 else SPAN
"""Columns of a tile."""
comptime compute_dtype[w_dtype: DType] = w_dtype if w_dtype == DType.bfloat16 else F32
"""Type of the factors of a matmul with weights in w_dtype; sums are in float32."""


@no_inline
def gemm_tile_f32(
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
    """Stores start[i, j] plus the sums of a[i, k] * b[k, j] over k: ROWS rows and SPAN columns.

    Sums always start from memory: where they start from zeros that the compiler knows, it has been
    seen to keep them on the stack.

    Args:
        into: [ROWS, SPAN].
        into_stride: Floats from one row of `into` to the next, as for the other strides.
        start: [ROWS, SPAN]; may be `into`.
        start_stride: See into_stride; with zero all rows start alike.
        a: Rows of a `RowBlock`.
        a_chunk: Floats from one chunk of the block to the next.
        b: [depth, SPAN].
        b_stride: See into_stride.
        depth: Length of the sums.
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
def gemm_tile[
    dtype: DType
](
    into: Floats,
    into_stride: Int,
    start: Floats,
    start_stride: Int,
    a: Scalars[dtype],
    a_chunk: Int,
    b: Scalars[dtype],
    b_stride: Int,
    depth: Int,
):
    """Does the work of `gemm_tile_f32` for rows_of[dtype] rows and span_of[dtype] columns."""
    comptime if dtype == DType.bfloat16:
        comptime if HAS_TILES:
            gemm_tile_amx(
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
            gemm_tile_pairs(
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
        gemm_tile_f32(
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


@fieldwise_init
struct PackedMatrix[w_dtype: DType, dtype: DType](
    Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """A matrix in panels [n_panels, depth, PANEL], and its bias; for AMX in pairs of rows.

    Parameters:
        w_dtype: Type of the stored matrix.
        dtype: Type of the factors of the matmul.
    """

    var panels: Scalars[Self.w_dtype]
    var scales: Floats
    """Those of panels of integers, [n_panels, n_groups, PANEL]; otherwise not read."""
    var bias: Floats
    """[n_out]."""
    var n_out: Int
    var depth: Int
    var ahead: Int
    """Panels from one to the one that is likely to be next, which is prefetched."""

    @always_inline
    def n_panels(self) -> Int:
        """Returns the number of panels."""
        return ceildiv(self.n_out, PANEL)

    @always_inline
    def dequantized(self, panel: Int, k: Int, column: Int) -> Vector:
        """Returns neighbouring columns of a panel at depth k as float32."""
        var at = (panel * self.depth + k) * PANEL + column
        var w = self.panels.unsafe_load[width=WIDTH](at).cast[F32]()
        comptime if Self.w_dtype.is_integral():
            var group = panel * ceildiv(self.depth, GROUP) + k // GROUP
            w *= self.scales.unsafe_load[width=WIDTH](group * PANEL + column)
        return w

    @always_inline
    def convert_panel(
        self, into: Scalars[Self.dtype], panel: Int, first: Int, depth: Int
    ):
        """Converts a panel's rows from `first` on to the type of the factors, [depth, PANEL]."""
        for k in range(0, depth, pair_of[Self.dtype]):
            for j in range(0, PANEL, WIDTH):
                var low = self.dequantized(panel, first + k, j)
                comptime if pair_of[Self.dtype] == 2:
                    var high = self.dequantized(panel, first + k + 1, j)
                    into.unsafe_store(k * PANEL + 2 * j, low.interleave(high).cast[Self.dtype]())
                else:
                    into.unsafe_store(k * PANEL + j, low.cast[Self.dtype]())

    def accumulate(
        self,
        sums: Floats,
        x: RowBlock[Self.dtype],
        workspace: Scalars[Self.dtype],
        *,
        n_rows: Int,
        panel: Int,
        depth: Int,
        first: Int = 0,
    ):
        """Adds the matmul of a block of rows with a panel to sums.

        Args:
            sums: [n_rows in whole tiles, PANEL]; where `first` is 0 they start from the bias.
            x: Columns first to first + depth of the left factor.
            workspace: Of (depth + 2) * PANEL numbers.
            n_rows: Rows of the block.
            panel: Index of the panel.
            depth: Rows of the panel that are read.
            first: First of them.
        """
        var bias = workspace.unsafe_bitcast[Float32]()
        for j in range(PANEL):
            var column = panel * PANEL + j
            bias.unsafe_store(j, self.bias.unsafe_load(column) if column < self.n_out else 0)
        var source = self.panels.unsafe_offset((panel * self.depth + first) * PANEL)
        var b: Scalars[Self.dtype]
        comptime if Self.w_dtype == Self.dtype:
            b = rebind[Scalars[Self.dtype]](source)
        else:
            b = workspace.unsafe_offset(2 * PANEL)
            self.convert_panel(b, panel, first, depth)
        var after = source.unsafe_offset(self.ahead * self.depth * PANEL)
        var n_tiles = ceildiv(n_rows, rows_of[Self.dtype])
        for i in range(n_tiles):
            prefetch_part(after, depth * PANEL, i, n_tiles)
            var row = i * rows_of[Self.dtype]
            for column in range(0, PANEL, span_of[Self.dtype]):
                var into = sums.unsafe_offset(row * PANEL + column)
                gemm_tile[Self.dtype](
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
def packed_matrix(
    panels: ManagedTensorSlice,
    scales: ManagedTensorSlice[dtype=F32, ...],
    bias: ManagedTensorSlice[dtype=F32, ...],
) -> PackedMatrix[panels.dtype, compute_dtype[panels.dtype]]:
    """Returns the matrix that three tensors hold."""
    return PackedMatrix[panels.dtype, compute_dtype[panels.dtype]](
        panels=rebind[Scalars[panels.dtype]](panels.unsafe_ptr()),
        scales=floats(scales),
        bias=floats(bias),
        n_out=bias.dim_size(0),
        depth=panels.dim_size(1),
        ahead=1,
    )


@always_inline
def add_rows(
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
    """Stores n_columns of sums [n_rows, PANEL] to rows that lie `stride` floats apart."""
    for row in range(n_rows):
        var to = into.unsafe_offset(row * stride)
        var y = sums.unsafe_offset(row * PANEL)
        if n_columns == PANEL:
            comptime for j in range(0, PANEL, WIDTH):
                to.unsafe_store(j, y.unsafe_load[width=WIDTH](j))
        else:
            for j in range(n_columns):
                to.unsafe_store(j, y.unsafe_load(j))
