"""Matrix-vector product (gemv) in half precision, limited by the memory's speed.

Rows of the matrix are loaded before the kernel waits for the one whose output it multiplies.
"""
import max.gpu.primitives.warp as warp
from max.gpu import WARP_SIZE, block_idx, grid_dim, lane_id, warp_id
from .layer_norm import WARP_CHUNK, normalized_row
from .math import gelu
from .pdl import launch_dependents, wait_on_dependencies
from .pointers import F32, DevicePointer, FloatPointer, load

comptime WARPS = 4
comptime STEP = 4
"""Neighbouring inputs that a lane multiplies at once."""
comptime COLUMNS = 2
"""Outputs that a warp computes at once where it holds the row."""
comptime CHUNKS = 12
"""Chunks of the row that are loaded at once where a warp does not hold it."""
comptime FILLING_BLOCKS = 4
"""Blocks of each multiprocessor that fill the GPU.

With more columns a warp that holds its row computes more outputs.
"""


@always_inline
def store_output[
    out_type: DType, *, has_gelu: Bool, has_residual: Bool
](
    output: DevicePointer[out_type],
    bias: FloatPointer,
    residual: FloatPointer,
    sum: Float32,
    column: Int,
):
    """Applies bias, GELU and residual to a sum and stores it in a column of a row."""
    var y = sum + bias[unsafe_offset=column]
    comptime if has_gelu:
        y = gelu(y)
    comptime if has_residual:
        y += residual[unsafe_offset=column]
    output[unsafe_offset=column] = y.cast[out_type]()


@always_inline
def load_columns[
    w_type: DType, n_chunks: Int
](
    w: DevicePointer[w_type],
    mut factors: Array[SIMD[w_type, STEP], n_chunks * COLUMNS],
    columns: Int,
    n_in: Int,
    n_out: Int,
):
    """Loads the rows of the matrix of COLUMNS outputs into a warp's registers.

    Parameters:
        w_type: Of the matrix.
        n_chunks: Chunks of a row.

    Args:
        w: [n_out, n_in].
        factors: The lane's values, [n_chunks, COLUMNS].
        columns: First output.
        n_in: Inputs.
        n_out: Outputs; the last one is loaded for those beyond it.
    """
    comptime for i in range(n_chunks):
        var k = i * WARP_CHUNK + Int(lane_id()) * STEP
        if k < n_in:
            comptime for j in range(COLUMNS):
                var column = min(columns + j, n_out - 1)
                factors[i * COLUMNS + j] = w.unsafe_load[width=STEP, alignment=2 * STEP](
                    column * n_in + k
                )


def norm_gemv_kernel[
    *, w_type: DType, out_type: DType, has_gelu: Bool, n_chunks: Int
](
    output: DevicePointer[out_type],
    x: FloatPointer,
    w: DevicePointer[w_type],
    bias: FloatPointer,
    norm_weight: FloatPointer,
    norm_bias: FloatPointer,
    n_in: Int32,
    n_out: Int32,
):
    """Computes act(norm(x) w^T + bias) of one row.

    Each warp normalizes the row, keeps it in registers, and computes COLUMNS outputs at a time.

    Parameters:
        w_type: Of the matrix.
        out_type: Of the output.
        has_gelu: True where GELU follows the bias.
        n_chunks: Width of the row in chunks of WARP_CHUNK values.

    Args:
        output: [n_out].
        x: [n_in].
        w: [n_out, n_in].
        bias: [n_out].
        norm_weight: [n_in].
        norm_bias: [n_in].
        n_in: Inputs, a multiple of 4.
        n_out: Outputs.
    """
    launch_dependents()
    var size = Int(n_in)
    var shift = Int(lane_id()) * STEP
    var stride = Int(grid_dim.x) * WARPS * COLUMNS
    var first = (Int(block_idx.x) * WARPS + Int(warp_id())) * COLUMNS
    var factors = Array[SIMD[w_type, STEP], n_chunks * COLUMNS](fill=SIMD[w_type, STEP](0))
    load_columns[w_type, n_chunks](w, factors, first, size, Int(n_out))
    wait_on_dependencies()
    var chunks = normalized_row[n_chunks](x, norm_weight, norm_bias, size)
    for columns in range(first, Int(n_out), stride):
        var acc = Array[SIMD[F32, STEP], COLUMNS](fill=SIMD[F32, STEP](0))
        comptime for i in range(n_chunks):
            if i * WARP_CHUNK + shift < size:
                comptime for j in range(COLUMNS):
                    acc[j] = chunks[i].fma(factors[i * COLUMNS + j].cast[F32](), acc[j])
        if columns + stride < Int(n_out):
            load_columns[w_type, n_chunks](w, factors, columns + stride, size, Int(n_out))
        comptime for j in range(COLUMNS):
            var sum = warp.sum(acc[j].reduce_add())
            if Int(lane_id()) == j and columns + j < Int(n_out):
                store_output[out_type, has_gelu=has_gelu, has_residual=False](
                    output, bias, bias, sum, columns + j
                )


def gemv_kernel[
    *,
    x_type: DType,
    w_type: DType,
    out_type: DType,
    has_gelu: Bool,
    has_residual: Bool,
    rows: Int,
](
    output: DevicePointer[out_type],
    x: DevicePointer[x_type],
    w: DevicePointer[w_type],
    bias: FloatPointer,
    residual: FloatPointer,
    n_rows: Int32,
    n_in: Int32,
    n_out: Int32,
):
    """Computes act(x w^T + bias) + residual, an output of each of up to `rows` rows by each warp.

    Parameters:
        x_type: Of x.
        w_type: Of the matrix.
        out_type: Of the output.
        has_gelu: True where GELU follows the bias.
        has_residual: True where a residual is added last.
        rows: Largest number of rows.

    Args:
        output: [n_rows, n_out].
        x: [n_rows, n_in].
        w: [n_out, n_in].
        bias: [n_out].
        residual: [n_rows, n_out].
        n_rows: Number of rows.
        n_in: Inputs, a multiple of 4.
        n_out: Outputs.
    """
    launch_dependents()
    var size = Int(n_in)
    var shift = Int(lane_id()) * STEP
    var column = Int(block_idx.x) * WARPS + Int(warp_id())
    var line = min(column, Int(n_out) - 1) * size
    var acc = Array[SIMD[F32, STEP], rows](fill=SIMD[F32, STEP](0))
    for start in range(0, size, CHUNKS * WARP_CHUNK):
        var factors = Array[SIMD[w_type, STEP], CHUNKS](fill=SIMD[w_type, STEP](0))
        comptime for i in range(CHUNKS):
            var k = start + i * WARP_CHUNK + shift
            if k < size:
                factors[i] = w.unsafe_load[width=STEP, alignment=2 * STEP](line + k)
        if start == 0:
            wait_on_dependencies()
        comptime for i in range(CHUNKS):
            var k = start + i * WARP_CHUNK + shift
            if k < size:
                comptime for row in range(rows):
                    var chunk = load[STEP](x, min(row, Int(n_rows) - 1) * size + k)
                    acc[row] = chunk.fma(factors[i].cast[F32](), acc[row])
    var sums = Array[Float32, rows](fill=0)
    comptime for row in range(rows):
        sums[row] = warp.sum(acc[row].reduce_add())
    comptime for row in range(rows):
        if Int(lane_id()) == row and row < Int(n_rows) and column < Int(n_out):
            var at = row * Int(n_out)
            store_output[out_type, has_gelu=has_gelu, has_residual=has_residual](
                output.unsafe_offset(at), bias, residual.unsafe_offset(at), sums[row], column
            )
