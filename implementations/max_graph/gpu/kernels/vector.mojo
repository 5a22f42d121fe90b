"""The product of one row with a matrix [n_out, n_in] in half precision, at the memory's speed.

Rows of the matrix are on their way before what they are multiplied with is there.
"""
import max.gpu.primitives.warp as warp
from max.gpu import block_idx, grid_dim, lane_id, warp_id
from .launch import let_next_start, wait_for_previous
from .linear import gelu
from .pointers import F32, Floats, Memory, load
from .rows import PART, normed_row

comptime WARPS = 4
comptime STEP = 4
"""Neighbouring inputs that a lane multiplies at once."""
comptime COLUMNS = 2
"""Outputs that a warp computes at once where it holds the row."""
comptime PARTS = 12
"""Parts of the row that are read at once where it does not."""
comptime MOST_BLOCKS = 528
"""Enough to fill the largest GPUs; a warp that holds its row computes more outputs then."""


@always_inline
def finish[
    out_type: DType, has_gelu: Bool, has_residual: Bool
](into: Memory[out_type], bias: Floats, residual: Floats, sum: Float32, column: Int):
    var y = sum + bias[unsafe_offset=column]
    comptime if has_gelu:
        y = gelu(y)
    comptime if has_residual:
        y += residual[unsafe_offset=column]
    into[unsafe_offset=column] = y.cast[out_type]()


def normed_vector_kernel[
    w_type: DType, out_type: DType, has_gelu: Bool, n_parts: Int
](
    into: Memory[out_type],
    x: Floats,
    w: Memory[w_type],
    bias: Floats,
    norm_weight: Floats,
    norm_bias: Floats,
    n_in: Int32,
    n_out: Int32,
):
    """Each warp normalises the row and keeps it, and computes outputs in turn."""
    let_next_start()
    var size = Int(n_in)
    var shift = Int(lane_id()) * STEP
    var stride = Int(grid_dim.x) * WARPS * COLUMNS
    var first = (Int(block_idx.x) * WARPS + Int(warp_id())) * COLUMNS
    var factors = Array[SIMD[w_type, STEP], n_parts * COLUMNS](fill=SIMD[w_type, STEP](0))

    @__parameter
    @always_inline
    def fetch(columns: Int):
        comptime for i in range(n_parts):
            var k = i * PART + shift
            if k < size:
                comptime for j in range(COLUMNS):
                    var column = min(columns + j, Int(n_out) - 1)
                    factors[i * COLUMNS + j] = w.unsafe_load[width=STEP, alignment=2 * STEP](
                        column * size + k
                    )

    fetch(first)
    wait_for_previous()
    var parts = normed_row[n_parts](x, norm_weight, norm_bias, size)
    for columns in range(first, Int(n_out), stride):
        var found = Array[SIMD[F32, STEP], COLUMNS](fill=SIMD[F32, STEP](0))
        comptime for i in range(n_parts):
            if i * PART + shift < size:
                comptime for j in range(COLUMNS):
                    found[j] = parts[i].fma(factors[i * COLUMNS + j].cast[F32](), found[j])
        if columns + stride < Int(n_out):
            fetch(columns + stride)
        comptime for j in range(COLUMNS):
            var sum = warp.sum(found[j].reduce_add())
            if Int(lane_id()) == j and columns + j < Int(n_out):
                finish[out_type, has_gelu, False](into, bias, bias, sum, columns + j)


def plain_vector_kernel[
    x_type: DType, w_type: DType, out_type: DType, has_gelu: Bool, has_residual: Bool, rows: Int
](
    into: Memory[out_type],
    x: Memory[x_type],
    w: Memory[w_type],
    bias: Floats,
    residual: Floats,
    n_rows: Int32,
    n_in: Int32,
    n_out: Int32,
):
    """A warp computes an output of each of up to `rows` rows."""
    let_next_start()
    var size = Int(n_in)
    var shift = Int(lane_id()) * STEP
    var column = Int(block_idx.x) * WARPS + Int(warp_id())
    var line = min(column, Int(n_out) - 1) * size
    var sums = Array[SIMD[F32, STEP], rows](fill=SIMD[F32, STEP](0))
    for start in range(0, size, PARTS * PART):
        var factors = Array[SIMD[w_type, STEP], PARTS](fill=SIMD[w_type, STEP](0))
        comptime for i in range(PARTS):
            var k = start + i * PART + shift
            if k < size:
                factors[i] = w.unsafe_load[width=STEP, alignment=2 * STEP](line + k)
        if start == 0:
            wait_for_previous()
        comptime for i in range(PARTS):
            var k = start + i * PART + shift
            if k < size:
                comptime for row in range(rows):
                    var part = load[STEP](x, min(row, Int(n_rows) - 1) * size + k)
                    sums[row] = part.fma(factors[i].cast[F32](), sums[row])
    var totals = Array[Float32, rows](fill=0)
    comptime for row in range(rows):
        totals[row] = warp.sum(sums[row].reduce_add())
    comptime for row in range(rows):
        if Int(lane_id()) == row and row < Int(n_rows) and column < Int(n_out):
            var at = row * Int(n_out)
            finish[out_type, has_gelu, has_residual](
                into.unsafe_offset(at), bias, residual.unsafe_offset(at), totals[row], column
            )
