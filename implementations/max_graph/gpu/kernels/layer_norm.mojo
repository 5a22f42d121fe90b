"""Layer norm by warps: as an operation, of a row in registers, and with a cast after it."""
import max.gpu.primitives.warp as warp
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu import WARP_SIZE, block_idx, lane_id, thread_idx
from max.gpu.host import DeviceContext
from std.math import ceildiv, sqrt
from .pdl import launch_dependents, pdl_attributes, wait_on_dependencies
from .pointers import F32, DevicePointer, FloatPointer, load, pointer

comptime EPSILON = Float32(1e-5)
"""Added to the variance, as in torch."""
comptime THREADS = 128
comptime WARPS = THREADS // WARP_SIZE
comptime LANE_VALUES = 4
"""Neighbouring values that a lane reads at once."""
comptime WARP_CHUNK = WARP_SIZE * LANE_VALUES
"""Values of a row that a warp reads at once."""


@always_inline
def inverse_deviation(variance: Float32) -> Float32:
    """Returns one over the standard deviation that layer norm divides by."""
    return 1 / sqrt(variance + EPSILON)


def layer_norm_kernel(
    output: FloatPointer,
    x: FloatPointer,
    weight: FloatPointer,
    bias: FloatPointer,
    n_rows: Int32,
    n_state: Int32,
):
    """Normalizes a row by each warp; for the arguments see `layer_norm`."""
    launch_dependents()
    wait_on_dependencies()
    var row = Int(block_idx.x) * WARPS + Int(thread_idx.x) // WARP_SIZE
    if row >= Int(n_rows):
        return
    var at = row * Int(n_state)
    var sum = Float32(0)
    for i in range(Int(lane_id()), Int(n_state), WARP_SIZE):
        sum += x[unsafe_offset=at + i]
    var mean = warp.sum(sum) / Float32(n_state)
    var squares = Float32(0)
    for i in range(Int(lane_id()), Int(n_state), WARP_SIZE):
        squares += (x[unsafe_offset=at + i] - mean) ** 2
    var scale = inverse_deviation(warp.sum(squares) / Float32(n_state))
    for i in range(Int(lane_id()), Int(n_state), WARP_SIZE):
        output[unsafe_offset=at + i] = (x[unsafe_offset=at + i] - mean) * scale * weight[
            unsafe_offset=i
        ] + bias[unsafe_offset=i]


def layer_norm(
    output: FloatPointer,
    x: FloatPointer,
    weight: FloatPointer,
    bias: FloatPointer,
    n_rows: Int,
    n_state: Int,
    ctx: DeviceContext,
) raises:
    """Launches layer norm of rows of any width.

    Args:
        output: [n_rows, n_state].
        x: [n_rows, n_state].
        weight: [n_state].
        bias: [n_state].
        n_rows: Number of rows.
        n_state: Width of a row.
        ctx: Stream.
    """
    ctx.enqueue_function[layer_norm_kernel](
        output,
        x,
        weight,
        bias,
        Int32(n_rows),
        Int32(n_state),
        grid_dim=ceildiv(n_rows, WARPS),
        block_dim=THREADS,
        attributes=pdl_attributes(),
    )


@extensibility.register("whisper_gpu_layer_norm")
struct LayerNorm:
    @staticmethod
    def execute[
        target: StaticString
    ](
        output: OutputTensor[dtype=F32, rank=3, ...],
        x: InputTensor[dtype=F32, rank=3, ...],
        weight: InputTensor[dtype=F32, rank=1, ...],
        bias: InputTensor[dtype=F32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Normalizes x [n_batch, n_ctx, n_state] to an output of the same shape."""
        layer_norm(
            pointer(output),
            pointer(x),
            pointer(weight),
            pointer(bias),
            x.dim_size(0) * x.dim_size(1),
            x.dim_size(2),
            ctx,
        )


@always_inline
def normalized_row[
    n_chunks: Int
](
    x: FloatPointer,
    weight: FloatPointer,
    bias: FloatPointer,
    n_state: Int,
    out chunks: Array[SIMD[F32, LANE_VALUES], n_chunks],
):
    """Returns a row, normalized, in the registers of a warp: of each chunk a lane has 4 neighbours.

    Parameters:
        n_chunks: Chunks of WARP_CHUNK values; the last one may be short.

    Args:
        x: The row.
        weight: [n_state].
        bias: [n_state].
        n_state: Width of the row, a multiple of 4.

    Returns:
        The lane's values, zero beyond the row.
    """
    var shift = Int(lane_id()) * LANE_VALUES
    var sums = SIMD[F32, LANE_VALUES](0)
    chunks = Array[SIMD[F32, LANE_VALUES], n_chunks](fill=SIMD[F32, LANE_VALUES](0))
    comptime for i in range(n_chunks):
        if i * WARP_CHUNK + shift < n_state:
            chunks[i] = load[LANE_VALUES](x, i * WARP_CHUNK + shift)
            sums += chunks[i]
    var mean = warp.sum(sums.reduce_add()) / Float32(n_state)
    var squares = SIMD[F32, LANE_VALUES](0)
    comptime for i in range(n_chunks):
        if i * WARP_CHUNK + shift < n_state:
            squares += (chunks[i] - mean) ** 2
    var scale = inverse_deviation(warp.sum(squares.reduce_add()) / Float32(n_state))
    comptime for i in range(n_chunks):
        var k = i * WARP_CHUNK + shift
        if k < n_state:
            var scaled = (chunks[i] - mean) * scale * load[LANE_VALUES](weight, k)
            chunks[i] = scaled + load[LANE_VALUES](bias, k)


def cast_rows_kernel[
    *, out_type: DType, has_norm: Bool, n_chunks: Int
](
    output: DevicePointer[out_type],
    x: FloatPointer,
    weight: FloatPointer,
    bias: FloatPointer,
    n_rows: Int32,
    n_state: Int32,
):
    """Casts a row by each warp; for parameters and arguments see `cast_rows`."""
    launch_dependents()
    wait_on_dependencies()
    var row = Int(block_idx.x) * WARPS + Int(thread_idx.x) // WARP_SIZE
    if row >= Int(n_rows):
        return
    var at = row * Int(n_state)
    var shift = Int(lane_id()) * LANE_VALUES
    var chunks = Array[SIMD[F32, LANE_VALUES], n_chunks](fill=SIMD[F32, LANE_VALUES](0))
    comptime if has_norm:
        chunks = normalized_row[n_chunks](x.unsafe_offset(at), weight, bias, Int(n_state))
    comptime for i in range(n_chunks):
        var k = i * WARP_CHUNK + shift
        if k < Int(n_state):
            comptime if not has_norm:
                chunks[i] = load[LANE_VALUES](x, at + k)
            output.unsafe_store[width=LANE_VALUES, alignment=8](at + k, chunks[i].cast[out_type]())


def cast_rows[
    *, out_type: DType, has_norm: Bool, n_chunks: Int
](
    output: DevicePointer[out_type],
    x: FloatPointer,
    weight: FloatPointer,
    bias: FloatPointer,
    n_rows: Int,
    n_state: Int,
    ctx: DeviceContext,
) raises:
    """Launches a cast of rows of float32 to half precision, after a layer norm if there is one.

    Parameters:
        out_type: Either float16 or bfloat16.
        has_norm: True where rows are normalized first.
        n_chunks: Width of a row in chunks of WARP_CHUNK values.

    Args:
        output: [n_rows, n_state].
        x: [n_rows, n_state].
        weight: [n_state], read only for a layer norm.
        bias: [n_state], read only for a layer norm.
        n_rows: Number of rows.
        n_state: Width of a row, a multiple of 4.
        ctx: Stream.
    """
    ctx.enqueue_function[
        cast_rows_kernel[out_type=out_type, has_norm=has_norm, n_chunks=n_chunks]
    ](
        output,
        x,
        weight,
        bias,
        Int32(n_rows),
        Int32(n_state),
        grid_dim=ceildiv(n_rows, WARPS),
        block_dim=THREADS,
        attributes=pdl_attributes(),
    )


def layer_norm_to[
    norm_type: DType, //, *, n_state: Int
](
    output: DevicePointer[norm_type],
    x: FloatPointer,
    weight: FloatPointer,
    bias: FloatPointer,
    n_rows: Int,
    ctx: DeviceContext,
) raises:
    """Launches layer norm of rows to any type.

    Parameters:
        norm_type: Of the output.
        n_state: Width of a row.

    Args:
        output: [n_rows, n_state].
        x: [n_rows, n_state].
        weight: [n_state].
        bias: [n_state].
        n_rows: Number of rows.
        ctx: Stream.
    """
    comptime if norm_type == F32:
        layer_norm(rebind[FloatPointer](output), x, weight, bias, n_rows, n_state, ctx)
    else:
        cast_rows[out_type=norm_type, has_norm=True, n_chunks = ceildiv(n_state, WARP_CHUNK)](
            output, x, weight, bias, n_rows, n_state, ctx
        )
