"""Products with a matrix [n_out, n_in], summed in float32, layer norm before and more after them.

A few rows are taken by warps, each of which reads its rows of the matrix once; many rows by tiles
in shared memory. Neither rounds what it multiplies: this is the linear operation of float32.
"""
import max.gpu.primitives.warp as warp
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu import block_idx, lane_id, thread_idx, warp_id
from max.gpu.host import DeviceContext
from max.gpu.sync import barrier
from std.math import ceildiv, erf, sqrt
from std.memory import unsafe_stack_allocation
from .pointers import F32, Floats, Memory, load, memory

comptime FEW_ROWS = 32
"""Up to here each warp computes whole products."""
comptime WARPS = 4
comptime LANES = 32
comptime STEP = 4
"""Neighbouring inputs that a lane multiplies at once."""
comptime TILE = 64
comptime DEPTH = 16
comptime PADDED = TILE + 4


@always_inline
def gelu(x: Float32) -> Float32:
    return 0.5 * x * (1 + erf(x * 0.7071067811865476))


@fieldwise_init
struct Product[w_type: DType, has_norm: Bool, has_gelu: Bool, has_residual: Bool](
    Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """Computes into = act(norm(x) w^T + bias) + residual."""

    var into: Floats
    var x: Floats
    var w: Memory[Self.w_type]
    var bias: Floats
    var residual: Floats
    var norm_weight: Floats
    var norm_bias: Floats
    var n_rows: Int
    var n_in: Int
    var n_out: Int
    var n_residual_rows: Int

    @always_inline
    def moments(self, row: Int) -> Tuple[Float32, Float32]:
        """Mean and one over the deviation of a row, by a whole warp."""
        var at = row * self.n_in
        var sums = SIMD[F32, STEP](0)
        for k in range(Int(lane_id()) * STEP, self.n_in, LANES * STEP):
            sums += load[STEP](self.x, at + k)
        var mean = warp.sum(sums.reduce_add()) / Float32(self.n_in)
        var squares = SIMD[F32, STEP](0)
        for k in range(Int(lane_id()) * STEP, self.n_in, LANES * STEP):
            var d = load[STEP](self.x, at + k) - mean
            squares += d * d
        var variance = warp.sum(squares.reduce_add()) / Float32(self.n_in)
        return mean, 1 / sqrt(variance + 1e-5)

    @always_inline
    def inputs(self, row: Int, k: Int, mean: Float32, scale: Float32) -> SIMD[F32, STEP]:
        var x = load[STEP](self.x, row * self.n_in + k)
        comptime if Self.has_norm:
            var w = load[STEP](self.norm_weight, k)
            return (x - mean) * scale * w + load[STEP](self.norm_bias, k)
        return x

    @always_inline
    def finish(self, sum: Float32, row: Int, column: Int):
        var y = sum + self.bias[unsafe_offset=column]
        comptime if Self.has_gelu:
            y = gelu(y)
        var at = row * self.n_out + column
        comptime if Self.has_residual:
            y += self.residual[
                unsafe_offset=(row % self.n_residual_rows) * self.n_out + column
            ]
        self.into[unsafe_offset=at] = y


def few_rows_kernel[
    w_type: DType,
    has_norm: Bool,
    has_gelu: Bool,
    has_residual: Bool,
    rows: Int,
    columns: Int,
](
    into: Floats,
    x: Floats,
    w: Memory[w_type],
    bias: Floats,
    residual: Floats,
    norm_weight: Floats,
    norm_bias: Floats,
    n_rows: Int32,
    n_in: Int32,
    n_out: Int32,
    n_residual_rows: Int32,
):
    """A warp computes `columns` outputs of `rows` rows."""
    var p = Product[w_type, has_norm, has_gelu, has_residual](
        into, x, w, bias, residual, norm_weight, norm_bias,
        Int(n_rows), Int(n_in), Int(n_out), Int(n_residual_rows),
    )
    var first_row = Int(block_idx.y) * rows
    var first = (Int(block_idx.x) * WARPS + Int(warp_id())) * columns
    if first >= p.n_out:
        return
    var means = Array[Float32, rows](fill=0)
    var scales = Array[Float32, rows](fill=1)
    comptime if has_norm:
        comptime for i in range(rows):
            means[i], scales[i] = p.moments(min(first_row + i, p.n_rows - 1))
    var sums = Array[SIMD[F32, STEP], rows * columns](fill=SIMD[F32, STEP](0))
    for k in range(Int(lane_id()) * STEP, p.n_in, LANES * STEP):
        var factors = Array[SIMD[F32, STEP], columns](fill=SIMD[F32, STEP](0))
        comptime for j in range(columns):
            factors[j] = load[STEP](p.w, min(first + j, p.n_out - 1) * p.n_in + k)
        comptime for i in range(rows):
            var inputs = p.inputs(min(first_row + i, p.n_rows - 1), k, means[i], scales[i])
            comptime for j in range(columns):
                sums[i * columns + j] = inputs.fma(factors[j], sums[i * columns + j])
    comptime for i in range(rows):
        comptime for j in range(columns):
            var sum = warp.sum(sums[i * columns + j].reduce_add())
            var is_mine = Int(lane_id()) == (i * columns + j) % LANES
            if is_mine and first_row + i < p.n_rows and first + j < p.n_out:
                p.finish(sum, first_row + i, first + j)


def many_rows_kernel[
    w_type: DType, has_norm: Bool, has_gelu: Bool, has_residual: Bool
](
    into: Floats,
    x: Floats,
    w: Memory[w_type],
    bias: Floats,
    residual: Floats,
    norm_weight: Floats,
    norm_bias: Floats,
    n_rows: Int32,
    n_in: Int32,
    n_out: Int32,
    n_residual_rows: Int32,
):
    """A block of 256 threads computes a tile of 64 rows by 64 columns."""
    var p = Product[w_type, has_norm, has_gelu, has_residual](
        into, x, w, bias, residual, norm_weight, norm_bias,
        Int(n_rows), Int(n_in), Int(n_out), Int(n_residual_rows),
    )
    var a = unsafe_stack_allocation[DEPTH * PADDED, Float32, alignment=16, address_space=.SHARED]()
    var b = unsafe_stack_allocation[DEPTH * PADDED, Float32, alignment=16, address_space=.SHARED]()
    var moments = unsafe_stack_allocation[2 * TILE, Float32, address_space=.SHARED]()
    var first_row = Int(block_idx.y) * TILE
    var first = Int(block_idx.x) * TILE
    var thread = Int(thread_idx.x)
    comptime if has_norm:
        for i in range(Int(warp_id()), TILE, 8):
            var mean, scale = p.moments(min(first_row + i, p.n_rows - 1))
            if lane_id() == 0:
                moments[unsafe_offset=2 * i] = mean
                moments[unsafe_offset=2 * i + 1] = scale
        barrier()
    var line = thread // 4
    var shift = thread % 4 * STEP
    var row = min(first_row + line, p.n_rows - 1)
    var column = min(first + line, p.n_out - 1)
    var mean = Float32(0)
    var scale = Float32(1)
    comptime if has_norm:
        mean = moments[unsafe_offset=2 * line]
        scale = moments[unsafe_offset=2 * line + 1]
    var top = thread // 16 * 4
    var left = thread % 16 * 4
    var sums = Array[SIMD[F32, 4], 4](fill=SIMD[F32, 4](0))
    for start in range(0, p.n_in, DEPTH):
        var k = start + shift
        var inputs = SIMD[F32, STEP](0)
        var factors = SIMD[F32, STEP](0)
        if k < p.n_in:
            inputs = p.inputs(row, k, mean, scale)
            factors = load[STEP](p.w, column * p.n_in + k)
        comptime for j in range(STEP):
            a[unsafe_offset=(shift + j) * PADDED + line] = inputs[j]
            b[unsafe_offset=(shift + j) * PADDED + line] = factors[j]
        barrier()
        comptime for d in range(DEPTH):
            var left_factors = a.unsafe_load[width=4, alignment=16](d * PADDED + top)
            var right_factors = b.unsafe_load[width=4, alignment=16](d * PADDED + left)
            comptime for i in range(4):
                sums[i] = SIMD[F32, 4](left_factors[i]).fma(right_factors, sums[i])
        barrier()
    comptime for i in range(4):
        comptime for j in range(4):
            if first_row + top + i < p.n_rows and first + left + j < p.n_out:
                p.finish(sums[i][j], first_row + top + i, first + left + j)


@extensibility.register("whisper_gpu_linear")
struct Linear:
    @staticmethod
    def execute[
        target: StaticString, has_norm: Bool, has_gelu: Bool, has_residual: Bool
    ](
        output: OutputTensor[dtype=F32, rank=3, ...],
        x: InputTensor[dtype=F32, rank=3, ...],
        w: InputTensor[rank=2, ...],
        bias: InputTensor[dtype=F32, rank=1, ...],
        residual: InputTensor[dtype=F32, ...],
        norm_weight: InputTensor[dtype=F32, rank=1, ...],
        norm_bias: InputTensor[dtype=F32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        var n_rows = x.dim_size(0) * x.dim_size(1)
        var n_in = x.dim_size(2)
        var n_out = w.dim_size(0)
        if n_rows == 0:
            return

        @__parameter
        def few[rows: Int, columns: Int]() raises:
            ctx.enqueue_function[
                few_rows_kernel[w.dtype, has_norm, has_gelu, has_residual, rows, columns]
            ](
                memory(output),
                memory(x),
                memory(w),
                memory(bias),
                memory(residual),
                memory(norm_weight),
                memory(norm_bias),
                Int32(n_rows),
                Int32(n_in),
                Int32(n_out),
                Int32(residual.size() // n_out),
                grid_dim=(ceildiv(n_out, WARPS * columns), ceildiv(n_rows, rows)),
                block_dim=WARPS * LANES,
            )

        if n_rows == 1:
            few[1, 1]()
        elif n_rows <= FEW_ROWS:
            few[8, 2]()
        else:
            ctx.enqueue_function[many_rows_kernel[w.dtype, has_norm, has_gelu, has_residual]](
                memory(output),
                memory(x),
                memory(w),
                memory(bias),
                memory(residual),
                memory(norm_weight),
                memory(norm_bias),
                Int32(n_rows),
                Int32(n_in),
                Int32(n_out),
                Int32(residual.size() // n_out),
                grid_dim=(ceildiv(n_out, TILE), ceildiv(n_rows, TILE)),
                block_dim=256,
            )
