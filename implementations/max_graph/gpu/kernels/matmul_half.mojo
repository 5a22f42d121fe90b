"""Matmul of the decoder in half precision as an operation, with sums in float32.

Up to five rows are computed by warps, more by the tensor cores, for which the rows are rounded:
where there is little to compute the warps of a block share the inputs, otherwise blocks have tiles.
"""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from std.math import ceildiv
from .epilogue import Epilogue
from .gemm import gemm
from .layer_norm import WARP_CHUNK, cast_rows
from .mma_gemm import mma_gemm
from .pointers import F32, FloatPointer, pointer
from .skinny_matmul import MAX_SKINNY_ROWS, skinny_matmul
from .split_k_matmul import is_split_k_faster, split_k_matmul


@extensibility.register("whisper_gpu_matmul_half")
struct MatmulHalf:
    @staticmethod
    def execute[
        target: StaticString,
        has_norm: Bool,
        has_gelu: Bool,
        has_residual: Bool,
        n_in: Int,
        portable: Bool,
    ](
        output: OutputTensor[rank=3, ...],
        rounded: OutputTensor[rank=3, ...],
        x: InputTensor[rank=3, ...],
        w: InputTensor[rank=2, ...],
        bias: InputTensor[dtype=F32, rank=1, ...],
        residual: InputTensor[dtype=F32, ...],
        norm_weight: InputTensor[dtype=F32, rank=1, ...],
        norm_bias: InputTensor[dtype=F32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Computes act(norm(x) w^T + bias) + residual.

        Parameters:
            target: Device of the graph.
            has_norm: True where rows are layer-normalized before.
            has_gelu: True where GELU follows the bias.
            has_residual: True where a residual is added last; never together with a layer norm.
            n_in: Inputs, a multiple of 8.
            portable: True for kernels that every GPU runs.

        Args:
            output: [n_batch, n_ctx, n_out].
            rounded: Workspace for x in half precision, of its shape where x is float32.
            x: [n_batch, n_ctx, n_in], float32 where there is a layer norm.
            w: [n_out, n_in].
            bias: [n_out].
            residual: [..., n_out], repeated where it has fewer rows.
            norm_weight: [n_in].
            norm_bias: [n_in].
            ctx: Stream.
        """
        comptime assert w.dtype != F32, "float32 has an operation of its own"
        comptime assert n_in % 8 == 0, "rows are read in chunks of 16 bytes"
        comptime n_chunks = ceildiv(n_in, WARP_CHUNK)
        var n_rows = x.dim_size(0) * x.dim_size(1)
        var n_out = w.dim_size(0)
        if n_rows == 0:
            return
        if n_rows <= MAX_SKINNY_ROWS:
            skinny_matmul[
                has_norm=has_norm,
                has_gelu=has_gelu,
                has_residual=has_residual,
                n_chunks=n_chunks,
            ](
                output=pointer(output),
                x=pointer(x),
                w=pointer(w),
                bias=pointer(bias),
                residual=pointer(residual),
                norm_weight=pointer(norm_weight),
                norm_bias=pointer(norm_bias),
                n_rows=n_rows,
                n_in=x.dim_size(2),
                n_out=n_out,
                ctx=ctx,
            )
            return
        var rows = rebind[type_of(pointer(w))](pointer(x))
        comptime if x.dtype == F32:
            rows = rebind[type_of(pointer(w))](pointer(rounded))
            cast_rows[out_type = w.dtype, has_norm=has_norm, n_chunks=n_chunks](
                output=rows,
                x=rebind[FloatPointer](pointer(x)),
                weight=pointer(norm_weight),
                bias=pointer(norm_bias),
                n_rows=n_rows,
                n_state=x.dim_size(2),
                ctx=ctx,
            )
        if is_split_k_faster(n_rows, n_out):
            split_k_matmul[has_gelu=has_gelu, has_residual=has_residual](
                pointer(output), rows, pointer(w), pointer(bias), pointer(residual),
                n_rows, x.dim_size(2), n_out, residual.size() // n_out, ctx,
            )
            return
        comptime if portable:
            mma_gemm[
                epilogue = Epilogue(
                    gelu=has_gelu, residual_norm=has_residual, store_output=True
                ),
                whole=False,
            ](
                output=pointer(output),
                x=rows,
                w=pointer(w),
                bias=pointer(bias),
                residual=pointer(residual),
                n_batch=1,
                n_rows=n_rows,
                n_in=x.dim_size(2),
                n_out=n_out,
                n_residual_rows=residual.size() // n_out,
                ctx=ctx,
            )
        else:
            gemm[has_gelu=has_gelu, has_residual=has_residual](
                pointer(output), rows, pointer(w), pointer(bias), pointer(residual),
                n_rows, x.dim_size(2), n_out, residual.size() // n_out, ctx,
            )
