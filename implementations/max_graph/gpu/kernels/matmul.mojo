"""Matmul in float32 as an operation, layer norm before and more after it in the same kernel.

Few rows are computed by warps, each of which reads its columns of the matrix once; many rows by
tiles in shared memory. Neither rounds its factors.
"""
import max.gpu.primitives.warp as warp
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu import WARP_SIZE, block_idx, lane_id, thread_idx, warp_id
from max.gpu.host import DeviceContext
from max.gpu.sync import barrier
from std.math import ceildiv
from std.memory import unsafe_stack_allocation
from .layer_norm import inverse_deviation
from .math import gelu
from .pointers import F32, DevicePointer, FloatPointer, load, pointer

comptime MAX_SKINNY_ROWS = 32
"""Rows up to which warps compute whole sums."""
comptime WARPS = 4
comptime STEP = 4
"""Neighbouring inputs that a lane multiplies at once."""
comptime TILE = 64
comptime DEPTH = 16
comptime PADDED = TILE + 4
comptime TILE_THREADS = 256


@fieldwise_init
struct Fused(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Work before and after a matmul in the same kernel; bias is always added."""

    var norm: Bool
    """Rows are layer-normalized before."""
    var gelu: Bool
    """GELU follows the bias."""
    var residual: Bool
    """A residual is added last."""


@fieldwise_init
struct Float32Matmul[w_type: DType, fused: Fused](
    Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """Operands of output = act(norm(x) w^T + bias) + residual."""

    var output: FloatPointer
    """[n_rows, n_out]."""
    var x: FloatPointer
    """[n_rows, n_in]."""
    var w: DevicePointer[Self.w_type]
    """[n_out, n_in]."""
    var bias: FloatPointer
    """[n_out]."""
    var residual: FloatPointer
    """[n_residual_rows, n_out], repeated where it has fewer rows."""
    var norm_weight: FloatPointer
    """[n_in]."""
    var norm_bias: FloatPointer
    """[n_in]."""
    var n_rows: Int
    var n_in: Int
    """A multiple of 4."""
    var n_out: Int
    var n_residual_rows: Int

    @always_inline
    def moments(self, row: Int) -> Tuple[Float32, Float32]:
        """Returns a row's mean and one over its deviation, by a whole warp."""
        var at = row * self.n_in
        var sums = SIMD[F32, STEP](0)
        for k in range(Int(lane_id()) * STEP, self.n_in, WARP_SIZE * STEP):
            sums += load[STEP](self.x, at + k)
        var mean = warp.sum(sums.reduce_add()) / Float32(self.n_in)
        var squares = SIMD[F32, STEP](0)
        for k in range(Int(lane_id()) * STEP, self.n_in, WARP_SIZE * STEP):
            var d = load[STEP](self.x, at + k) - mean
            squares += d * d
        return mean, inverse_deviation(warp.sum(squares.reduce_add()) / Float32(self.n_in))

    @always_inline
    def inputs(self, row: Int, k: Int, mean: Float32, scale: Float32) -> SIMD[F32, STEP]:
        """Returns a row's inputs from k on, normalized by its moments if there is a norm."""
        var x = load[STEP](self.x, row * self.n_in + k)
        comptime if Self.fused.norm:
            var w = load[STEP](self.norm_weight, k)
            return (x - mean) * scale * w + load[STEP](self.norm_bias, k)
        return x

    @always_inline
    def store(self, sum: Float32, row: Int, column: Int):
        """Applies the epilogue to a sum and stores it."""
        var y = sum + self.bias[unsafe_offset=column]
        comptime if Self.fused.gelu:
            y = gelu(y)
        var at = row * self.n_out + column
        comptime if Self.fused.residual:
            y += self.residual[
                unsafe_offset=(row % self.n_residual_rows) * self.n_out + column
            ]
        self.output[unsafe_offset=at] = y


def skinny_matmul_kernel[
    *, w_type: DType, fused: Fused, rows: Int, columns: Int
](
    output: FloatPointer,
    x: FloatPointer,
    w: DevicePointer[w_type],
    bias: FloatPointer,
    residual: FloatPointer,
    norm_weight: FloatPointer,
    norm_bias: FloatPointer,
    n_rows: Int32,
    n_in: Int32,
    n_out: Int32,
    n_residual_rows: Int32,
):
    """Computes `columns` outputs of `rows` rows by each warp; see `Float32Matmul`."""
    var args = Float32Matmul[w_type, fused](
        output, x, w, bias, residual, norm_weight, norm_bias,
        Int(n_rows), Int(n_in), Int(n_out), Int(n_residual_rows),
    )
    var first_row = Int(block_idx.y) * rows
    var first = (Int(block_idx.x) * WARPS + Int(warp_id())) * columns
    if first >= args.n_out:
        return
    var means = Array[Float32, rows](fill=0)
    var scales = Array[Float32, rows](fill=1)
    comptime if fused.norm:
        comptime for i in range(rows):
            means[i], scales[i] = args.moments(min(first_row + i, args.n_rows - 1))
    var sums = Array[SIMD[F32, STEP], rows * columns](fill=SIMD[F32, STEP](0))
    for k in range(Int(lane_id()) * STEP, args.n_in, WARP_SIZE * STEP):
        var factors = Array[SIMD[F32, STEP], columns](fill=SIMD[F32, STEP](0))
        comptime for j in range(columns):
            factors[j] = load[STEP](args.w, min(first + j, args.n_out - 1) * args.n_in + k)
        comptime for i in range(rows):
            var inputs = args.inputs(min(first_row + i, args.n_rows - 1), k, means[i], scales[i])
            comptime for j in range(columns):
                sums[i * columns + j] = inputs.fma(factors[j], sums[i * columns + j])
    comptime for i in range(rows):
        comptime for j in range(columns):
            var sum = warp.sum(sums[i * columns + j].reduce_add())
            var is_mine = Int(lane_id()) == (i * columns + j) % WARP_SIZE
            if is_mine and first_row + i < args.n_rows and first + j < args.n_out:
                args.store(sum, first_row + i, first + j)


def tiled_matmul_kernel[
    *, w_type: DType, fused: Fused
](
    output: FloatPointer,
    x: FloatPointer,
    w: DevicePointer[w_type],
    bias: FloatPointer,
    residual: FloatPointer,
    norm_weight: FloatPointer,
    norm_bias: FloatPointer,
    n_rows: Int32,
    n_in: Int32,
    n_out: Int32,
    n_residual_rows: Int32,
):
    """Computes a tile of TILE rows by TILE columns by each block; see `Float32Matmul`."""
    var args = Float32Matmul[w_type, fused](
        output, x, w, bias, residual, norm_weight, norm_bias,
        Int(n_rows), Int(n_in), Int(n_out), Int(n_residual_rows),
    )
    var a = unsafe_stack_allocation[DEPTH * PADDED, Float32, alignment=16, address_space=.SHARED]()
    var b = unsafe_stack_allocation[DEPTH * PADDED, Float32, alignment=16, address_space=.SHARED]()
    var moments = unsafe_stack_allocation[2 * TILE, Float32, address_space=.SHARED]()
    var first_row = Int(block_idx.y) * TILE
    var first = Int(block_idx.x) * TILE
    var thread = Int(thread_idx.x)
    comptime if fused.norm:
        for i in range(Int(warp_id()), TILE, TILE_THREADS // WARP_SIZE):
            var mean, scale = args.moments(min(first_row + i, args.n_rows - 1))
            if lane_id() == 0:
                moments[unsafe_offset=2 * i] = mean
                moments[unsafe_offset=2 * i + 1] = scale
        barrier()
    var line = thread // 4
    var shift = thread % 4 * STEP
    var row = min(first_row + line, args.n_rows - 1)
    var column = min(first + line, args.n_out - 1)
    var mean = Float32(0)
    var scale = Float32(1)
    comptime if fused.norm:
        mean = moments[unsafe_offset=2 * line]
        scale = moments[unsafe_offset=2 * line + 1]
    var top = thread // 16 * 4
    var left = thread % 16 * 4
    var sums = Array[SIMD[F32, 4], 4](fill=SIMD[F32, 4](0))
    for start in range(0, args.n_in, DEPTH):
        var k = start + shift
        var inputs = SIMD[F32, STEP](0)
        var factors = SIMD[F32, STEP](0)
        if k < args.n_in:
            inputs = args.inputs(row, k, mean, scale)
            factors = load[STEP](args.w, column * args.n_in + k)
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
            if first_row + top + i < args.n_rows and first + left + j < args.n_out:
                args.store(sums[i][j], first_row + top + i, first + left + j)


@extensibility.register("whisper_gpu_matmul")
struct Matmul:
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
        """Computes act(norm(x) w^T + bias) + residual in float32.

        Parameters:
            target: Device of the graph.
            has_norm: True where rows are layer-normalized before.
            has_gelu: True where GELU follows the bias.
            has_residual: True where a residual is added last.

        Args:
            output: [n_batch, n_ctx, n_out].
            x: [n_batch, n_ctx, n_in]; n_in is a multiple of 4.
            w: [n_out, n_in].
            bias: [n_out].
            residual: [..., n_out], repeated where it has fewer rows.
            norm_weight: [n_in].
            norm_bias: [n_in].
            ctx: Stream.
        """
        comptime fused = Fused(norm=has_norm, gelu=has_gelu, residual=has_residual)
        var n_rows = x.dim_size(0) * x.dim_size(1)
        var n_in = x.dim_size(2)
        var n_out = w.dim_size(0)
        if n_rows == 0:
            return

        @__parameter
        def skinny[rows: Int, columns: Int]() raises:
            ctx.enqueue_function[
                skinny_matmul_kernel[w_type = w.dtype, fused=fused, rows=rows, columns=columns]
            ](
                pointer(output),
                pointer(x),
                pointer(w),
                pointer(bias),
                pointer(residual),
                pointer(norm_weight),
                pointer(norm_bias),
                Int32(n_rows),
                Int32(n_in),
                Int32(n_out),
                Int32(residual.size() // n_out),
                grid_dim=(ceildiv(n_out, WARPS * columns), ceildiv(n_rows, rows)),
                block_dim=WARPS * WARP_SIZE,
            )

        if n_rows == 1:
            skinny[rows=1, columns=1]()
        elif n_rows <= MAX_SKINNY_ROWS:
            skinny[rows=8, columns=2]()
        else:
            ctx.enqueue_function[tiled_matmul_kernel[w_type = w.dtype, fused=fused]](
                pointer(output),
                pointer(x),
                pointer(w),
                pointer(bias),
                pointer(residual),
                pointer(norm_weight),
                pointer(norm_bias),
                Int32(n_rows),
                Int32(n_in),
                Int32(n_out),
                Int32(residual.size() // n_out),
                grid_dim=(ceildiv(n_out, TILE), ceildiv(n_rows, TILE)),
                block_dim=TILE_THREADS,
            )
