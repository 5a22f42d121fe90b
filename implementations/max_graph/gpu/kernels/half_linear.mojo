"""The decoder's products in half precision, with sums in float32.

A few rows are taken by warps, more by the tensor cores, for which what is multiplied is rounded.
"""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from .few_rows import FEW, multiply_few
from .pointers import F32, Floats, memory
from .rows import round_rows
from .tiles import multiply_rows


@extensibility.register("whisper_gpu_half_linear")
struct HalfLinear:
    @staticmethod
    def execute[
        target: StaticString, has_norm: Bool, has_gelu: Bool, has_residual: Bool, n_parts: Int
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
        """`rounded` is room for x in half precision, where it is float32; n_parts is its width."""
        var n_rows = x.dim_size(0) * x.dim_size(1)
        var n_in = x.dim_size(2)
        var n_out = w.dim_size(0)
        if n_rows == 0:
            return
        if n_rows <= FEW:
            multiply_few[
                x.dtype, w.dtype, output.dtype, has_norm, has_gelu, has_residual, n_parts
            ](
                memory(output),
                memory(x),
                memory(w),
                memory(bias),
                memory(residual),
                memory(norm_weight),
                memory(norm_bias),
                n_rows,
                n_in,
                n_out,
                ctx,
            )
            return
        var rows = rebind[type_of(memory(w))](memory(x))
        comptime if x.dtype == F32:
            rows = rebind[type_of(memory(w))](memory(rounded))
            round_rows[w.dtype, has_norm, n_parts](
                rows,
                rebind[Floats](memory(x)),
                memory(norm_weight),
                memory(norm_bias),
                n_rows,
                n_in,
                ctx,
            )
        multiply_rows[w.dtype, output.dtype, has_gelu, has_residual](
            memory(output),
            rows,
            memory(w),
            memory(bias),
            memory(residual),
            n_rows,
            n_in,
            n_out,
            residual.size() // n_out,
            ctx,
        )

