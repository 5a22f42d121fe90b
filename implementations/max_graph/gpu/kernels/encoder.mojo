"""The encoder's products as one operation: which kernel with which tiles, and how it is launched."""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext, Dim, FuncAttribute
from std.math import ceildiv
from .bulk import describe_tensor
from .launch import early
from .pointers import F32, Floats, memory
from .products import product_kernel
from .rows import PART, layer_norm, round_rows
from .tensor_cores import GROUP, ROW

comptime COLUMNS = 128
comptime WIDEST = 8
"""Blocks of a cluster at most; wider rows have their layer norm in a kernel of its own."""
comptime FEW_ROWS = 5000
"""Up to here smaller tiles are better."""


@extensibility.register("whisper_gpu_product")
struct ProductOf:
    @staticmethod
    def execute[
        target: StaticString,
        n_out: Int,
        n_taps: Int,
        stride: Int,
        has_gelu: Bool,
        has_residual: Bool,
        has_norm: Bool,
        keeps: Bool,
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
        """Frames [n_batch, n_frames, n_in], each with its neighbours where there are three taps.

        `output` is left alone if it is not kept, `normed` if there is no norm.
        """
        var n_batch = x.dim_size(0) if n_taps > 1 else 1
        var n_in = x.dim_size(2)
        var n_all = x.dim_size(0) * x.dim_size(1) // stride
        var n_rows = n_all // n_batch

        @__parameter
        def run[groups: Int, columns: Int, stages: Int, lag: Int, with_norm: Bool]() raises:
            comptime rows = 64 * groups
            comptime across = n_out // columns if with_norm else 1
            comptime bytes = stages * ((rows + columns) * ROW * 2 + 16) + 16 + rows * across * 8
            ctx.enqueue_function[
                product_kernel[
                    x.dtype,
                    output.dtype,
                    normed.dtype,
                    has_gelu,
                    has_residual,
                    with_norm,
                    keeps,
                    groups,
                    columns,
                    stages,
                    across,
                    lag,
                    2,
                ]
            ](
                memory(output),
                memory(normed),
                describe_tensor(memory(x), n_batch, n_rows, stride * n_in, rows, ctx),
                describe_tensor(memory(w), 1, n_out, n_taps * n_in, columns, ctx),
                memory(bias),
                memory(residual),
                memory(norm_weight),
                memory(norm_bias),
                Int32(n_rows),
                Int32(n_in),
                Int32(n_out),
                Int32(residual.size() // n_out),
                Int32(n_taps),
                Int32(stride),
                grid_dim=(n_out // columns, ceildiv(n_rows, rows), n_batch),
                block_dim=GROUP * groups,
                cluster_dim=Dim(across, 1, 1),
                shared_mem_bytes=bytes,
                func_attribute=FuncAttribute.MAX_DYNAMIC_SHARED_SIZE_BYTES(UInt32(bytes)),
                attributes=early(),
            )

        comptime if not has_norm:
            run[2, COLUMNS, 3, 1, False]()
        elif n_out > WIDEST * COLUMNS:
            run[2, COLUMNS, 3, 1, False]()
            comptime if normed.dtype == F32:
                layer_norm(
                    rebind[Floats](memory(normed)),
                    rebind[Floats](memory(output)),
                    memory(norm_weight),
                    memory(norm_bias),
                    n_all,
                    n_out,
                    ctx,
                )
            else:
                round_rows[normed.dtype, True, ceildiv(n_out, PART)](
                    memory(normed),
                    rebind[Floats](memory(output)),
                    memory(norm_weight),
                    memory(norm_bias),
                    n_all,
                    n_out,
                    ctx,
                )
        else:
            comptime if n_out <= WIDEST * 64:
                if n_all <= FEW_ROWS:
                    run[1, 64, 6, 3, True]()
                    return
            run[2, COLUMNS, 3, 1, True]()
