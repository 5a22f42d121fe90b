"""Matmul of the encoder in half precision as an operation: choice of kernel and tiles, and launch.

The kernels are in gemm_tma.mojo and gemm_persistent.mojo for Hopper, and in mma_gemm.mojo for all
GPUs.
"""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext, Dim, FuncAttribute
from std.math import ceildiv
from .epilogue import Epilogue
from .gemm_persistent import gemm_persistent
from .gemm_tma import Tile, gemm_tma_kernel
from .layer_norm import layer_norm_to
from .mma_gemm import mma_gemm
from .pdl import pdl_attributes
from .pointers import F32, DevicePointer, FloatPointer, pointer
from .tma import tensor_map
from .wgmma import WARPGROUP

comptime COLUMNS = 128
"""Output columns of a block; the width of a state is a multiple of it."""
comptime MAX_CLUSTER = 8
"""Blocks of a cluster; wider rows have their layer norm in a kernel of its own."""
comptime MAX_SMALL_TILE_ROWS = 5000
"""Rows up to which smaller tiles are faster, measured on an H100."""
comptime LARGE_TILE = Tile(groups=2, columns=COLUMNS, stages=3, lag=1)
comptime SMALL_TILE = Tile(groups=1, columns=64, stages=6, lag=3)


@fieldwise_init
struct Operands[dtype: DType, out_type: DType, norm_type: DType](
    Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """Device memory that a matmul reads and writes.

    Parameters:
        dtype: Of x and of the matrix.
        out_type: Of the output, float32 where a residual is added.
        norm_type: Of the normalized output.
    """

    var output: DevicePointer[Self.out_type]
    var normed: DevicePointer[Self.norm_type]
    var x: DevicePointer[Self.dtype]
    var w: DevicePointer[Self.dtype]
    var bias: FloatPointer
    var residual: FloatPointer
    var norm_weight: FloatPointer
    var norm_bias: FloatPointer


@fieldwise_init
struct Shape(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Numbers of rows and inputs of a matmul."""

    var n_batch: Int
    var n_rows: Int
    """Output rows of each item of the batch."""
    var n_in: Int
    """Inputs of a frame; a row has `n_taps` frames."""
    var n_residual_rows: Int
    """Rows of the residual, which is repeated where it has fewer."""


@extensibility.register("whisper_gpu_encoder_matmul")
struct EncoderMatmul:
    @staticmethod
    def execute[
        target: StaticString,
        n_out: Int,
        n_taps: Int,
        stride: Int,
        has_gelu: Bool,
        has_residual_norm: Bool,
        store_output: Bool,
        columns: Int,
        max_norm_width: Int,
        portable: Bool,
    ](
        output: OutputTensor[rank=3, ...],
        normed: OutputTensor[rank=3, ...],
        x: InputTensor[rank=3, ...],
        w: InputTensor[dtype = x.dtype, rank=2, ...],
        bias: InputTensor[dtype=F32, rank=1, ...],
        residual: InputTensor[dtype=F32, ...],
        norm_weight: InputTensor[dtype=F32, rank=1, ...],
        norm_bias: InputTensor[dtype=F32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Computes act(x w^T + bias), and with a residual the sum and its layer norm.

        Parameters:
            target: Device of the graph.
            n_out: Output columns, a multiple of `columns`.
            n_taps: Frames of a row: 3 for a convolution, otherwise 1.
            stride: Frames from row to row.
            has_gelu: True where GELU follows the bias.
            has_residual_norm: True where a residual is added and the sum is normalized.
            store_output: False where only the normalized sum is wanted.
            columns: Python's COLUMNS.
            max_norm_width: Python's widest state that is normalized in the same kernel.
            portable: True for a kernel that every GPU runs; then the sum is always stored.

        Args:
            output: [n_batch, n_frames / stride, n_out], untouched if it is not stored.
            normed: The same shape, untouched if there is no layer norm.
            x: Frames [n_batch, n_frames, n_in].
            w: [n_out, n_taps * n_in].
            bias: [n_out].
            residual: [..., n_out], repeated where it has fewer rows.
            norm_weight: [n_out].
            norm_bias: [n_out].
            ctx: Stream.
        """
        comptime assert columns == COLUMNS, "Python and Mojo differ in COLUMNS"
        comptime assert max_norm_width == MAX_CLUSTER * COLUMNS, "they differ in the widest norm"
        comptime assert n_out % COLUMNS == 0, "the output fills whole tiles"
        comptime assert store_output or n_out <= max_norm_width, "wide sums are stored"
        comptime assert store_output or not portable, "sums are normalized by another kernel"
        # Without taps all frames are rows of one batch.
        var n_batch = x.dim_size(0) if n_taps > 1 else 1
        encoder_matmul[
            n_out=n_out,
            n_taps=n_taps,
            stride=stride,
            epilogue = Epilogue(
                gelu=has_gelu, residual_norm=has_residual_norm, store_output=store_output
            ),
            portable=portable,
        ](
            Operands(
                output=pointer(output),
                normed=pointer(normed),
                x=pointer(x),
                w=pointer(w),
                bias=pointer(bias),
                residual=pointer(residual),
                norm_weight=pointer(norm_weight),
                norm_bias=pointer(norm_bias),
            ),
            Shape(
                n_batch=n_batch,
                n_rows=x.dim_size(0) * x.dim_size(1) // stride // n_batch,
                n_in=x.dim_size(2),
                n_residual_rows=residual.size() // n_out,
            ),
            ctx,
        )


def matmul_persistently[
    dtype: DType, out_type: DType, norm_type: DType, //, *, n_out: Int, epilogue: Epilogue
](
    operands: Operands[dtype, out_type, norm_type], n_rows: Int, shape: Shape, ctx: DeviceContext
) raises:
    """Launches a matmul without layer norm; for the arguments see `encoder_matmul`."""
    gemm_persistent[epilogue=epilogue](
        output=operands.output,
        x=operands.x,
        w=operands.w,
        bias=operands.bias,
        residual=operands.residual,
        n_rows=n_rows,
        n_in=shape.n_in,
        n_out=n_out,
        n_residual_rows=shape.n_residual_rows,
        ctx=ctx,
    )


def normalize[
    dtype: DType, out_type: DType, norm_type: DType, //, *, n_out: Int
](operands: Operands[dtype, out_type, norm_type], n_rows: Int, ctx: DeviceContext) raises:
    """Launches the layer norm of stored sums; for the arguments see `encoder_matmul`."""
    layer_norm_to[n_state=n_out](
        operands.normed,
        rebind[FloatPointer](operands.output),
        operands.norm_weight,
        operands.norm_bias,
        n_rows,
        ctx,
    )


def encoder_matmul[
    dtype: DType,
    out_type: DType,
    norm_type: DType,
    //,
    *,
    n_out: Int,
    epilogue: Epilogue,
    portable: Bool,
    n_taps: Int = 1,
    stride: Int = 1,
](operands: Operands[dtype, out_type, norm_type], shape: Shape, ctx: DeviceContext) raises:
    """Launches a matmul with the tiles that suit its rows, and a layer norm apart for wide rows.

    Parameters:
        dtype: Of x and of the matrix.
        out_type: Of the output.
        norm_type: Of the normalized output.
        n_out: Output columns.
        epilogue: Work on the sums before they are stored.
        portable: True for a kernel that every GPU runs.
        n_taps: Frames of a row.
        stride: Frames from row to row.

    Args:
        operands: Device memory.
        shape: Numbers of rows and inputs.
        ctx: Stream.
    """
    var n_all = shape.n_batch * shape.n_rows

    @__parameter
    def launch[tile: Tile, with_norm: Bool]() raises:
        comptime cluster_size = n_out // tile.columns if with_norm else 1
        comptime bytes = tile.shared_bytes(cluster_size)
        ctx.enqueue_function[
            gemm_tma_kernel[
                dtype=dtype,
                out_type=out_type,
                norm_type=norm_type,
                epilogue=epilogue,
                with_norm=with_norm,
                tile=tile,
                cluster_size=cluster_size,
            ]
        ](
            operands.output,
            operands.normed,
            tensor_map(
                operands.x, shape.n_batch, shape.n_rows, stride * shape.n_in, tile.rows(), ctx
            ),
            tensor_map(operands.w, 1, n_out, n_taps * shape.n_in, tile.columns, ctx),
            operands.bias,
            operands.residual,
            operands.norm_weight,
            operands.norm_bias,
            Int32(shape.n_rows),
            Int32(shape.n_in),
            Int32(n_out),
            Int32(shape.n_residual_rows),
            Int32(n_taps),
            Int32(stride),
            grid_dim=(n_out // tile.columns, ceildiv(shape.n_rows, tile.rows()), shape.n_batch),
            block_dim=WARPGROUP * tile.groups,
            cluster_dim=Dim(cluster_size, 1, 1),
            shared_mem_bytes=bytes,
            func_attribute=FuncAttribute.MAX_DYNAMIC_SHARED_SIZE_BYTES(UInt32(bytes)),
            attributes=pdl_attributes(),
        )

    comptime if portable:
        mma_gemm[epilogue=epilogue, whole=True, n_taps=n_taps, stride=stride](
            output=operands.output,
            x=operands.x,
            w=operands.w,
            bias=operands.bias,
            residual=operands.residual,
            n_batch=shape.n_batch,
            n_rows=shape.n_rows,
            n_in=shape.n_in,
            n_out=n_out,
            n_residual_rows=shape.n_residual_rows,
            ctx=ctx,
        )
        comptime if epilogue.residual_norm:
            normalize[n_out=n_out](operands, n_all, ctx)
    elif not epilogue.residual_norm or n_out > MAX_CLUSTER * COLUMNS:
        comptime if n_taps > 1:
            launch[tile=LARGE_TILE, with_norm=False]()
        else:
            matmul_persistently[n_out=n_out, epilogue=epilogue](operands, n_all, shape, ctx)
        comptime if epilogue.residual_norm:
            normalize[n_out=n_out](operands, n_all, ctx)
    else:
        comptime if n_out <= MAX_CLUSTER * SMALL_TILE.columns:
            if n_all <= MAX_SMALL_TILE_ROWS:
                launch[tile=SMALL_TILE, with_norm=True]()
                return
        launch[tile=LARGE_TILE, with_norm=True]()
