"""Choice of tiles and launch of the matmul by `mma.sync`; the kernel is in mma_gemm_kernel.mojo."""
from max.gpu.host import DeviceContext, FuncAttribute
from std.math import ceildiv
from .epilogue import Epilogue
from .mma import MAX_SHARED_BYTES
from .mma_gemm_kernel import MmaTile, mma_gemm_kernel
from .multiprocessors import multiprocessors
from .pdl import pdl_attributes
from .pointers import DevicePointer, FloatPointer

comptime LARGE_TILE = MmaTile(
    rows=128, columns=128, depth=32, stages=3, warp_rows=64, warp_columns=64, blocks=2
)
comptime SMALL_TILE = MmaTile(
    rows=64, columns=64, depth=64, stages=3, warp_rows=32, warp_columns=32, blocks=4
)


def mma_gemm[
    dtype: DType,
    out_type: DType,
    //,
    *,
    epilogue: Epilogue,
    whole: Bool,
    n_taps: Int = 1,
    stride: Int = 1,
](
    output: DevicePointer[out_type],
    x: DevicePointer[dtype],
    w: DevicePointer[dtype],
    bias: FloatPointer,
    residual: FloatPointer,
    n_batch: Int,
    n_rows: Int,
    n_in: Int,
    n_out: Int,
    n_residual_rows: Int,
    ctx: DeviceContext,
) raises:
    """Launches act(x w^T + bias) + residual with tiles that suit the rows.

    For parameters and arguments see `mma_gemm_kernel`; `ctx` is the stream.
    """

    @__parameter
    def launch[tile: MmaTile]() raises:
        comptime bytes = tile.shared_bytes()
        comptime assert bytes <= MAX_SHARED_BYTES, "a block gets no more on every GPU"
        ctx.enqueue_function[
            mma_gemm_kernel[
                dtype=dtype,
                out_type=out_type,
                epilogue=epilogue,
                whole=whole,
                tile=tile,
                n_taps=n_taps,
                stride=stride,
            ]
        ](
            output,
            x,
            w,
            bias,
            residual,
            Int32(n_rows),
            Int32(n_in),
            Int32(n_out),
            Int32(n_residual_rows),
            grid_dim=(ceildiv(n_out, tile.columns), ceildiv(n_rows, tile.rows), n_batch),
            block_dim=tile.threads(),
            shared_mem_bytes=bytes,
            func_attribute=FuncAttribute.MAX_DYNAMIC_SHARED_SIZE_BYTES(UInt32(bytes)),
            attributes=pdl_attributes(),
        )

    var n_large = ceildiv(n_out, LARGE_TILE.columns) * ceildiv(n_rows, LARGE_TILE.rows) * n_batch
    if n_large >= LARGE_TILE.blocks * multiprocessors(ctx):
        launch[tile=LARGE_TILE]()
    else:
        launch[tile=SMALL_TILE]()
