"""An encoder block after its attention as an operation: one kernel for many rows, otherwise three.

The fused kernel is in post_attention.mojo, and for width 384 only.
"""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext, FuncAttribute
from std.math import ceildiv
from .encoder_matmul import COLUMNS, Operands, Shape, encoder_matmul
from .epilogue import Epilogue
from .pdl import pdl_attributes
from .pointers import F32, pointer
from .post_attention import BYTES, GROUPS, ROWS, SIDE, WIDTH, post_attention_kernel
from .tma import tiled_tensor_map
from .wgmma import WARPGROUP

comptime MIN_FUSED_ROWS = 9000
"""Rows from which one kernel for all that follows attention is faster than three."""


@extensibility.register("whisper_gpu_encoder_post_attention")
struct EncoderPostAttention:
    @staticmethod
    def execute[
        target: StaticString, n_state: Int, store_output: Bool, portable: Bool
    ](
        output: OutputTensor[dtype=F32, rank=3, ...],
        normed: OutputTensor[rank=3, ...],
        attn_sum: OutputTensor[dtype=F32, rank=3, ...],
        mlp_input: OutputTensor[rank=3, ...],
        hidden: OutputTensor[dtype = mlp_input.dtype, rank=3, ...],
        x: InputTensor[dtype = mlp_input.dtype, rank=3, ...],
        residual: InputTensor[dtype=F32, rank=3, ...],
        out_w: InputTensor[dtype = mlp_input.dtype, rank=2, ...],
        out_bias: InputTensor[dtype=F32, rank=1, ...],
        norm_weight: InputTensor[dtype=F32, rank=1, ...],
        norm_bias: InputTensor[dtype=F32, rank=1, ...],
        widen_w: InputTensor[dtype = mlp_input.dtype, rank=2, ...],
        widen_bias: InputTensor[dtype=F32, rank=1, ...],
        narrow_w: InputTensor[dtype = mlp_input.dtype, rank=2, ...],
        narrow_bias: InputTensor[dtype=F32, rank=1, ...],
        next_weight: InputTensor[dtype=F32, rank=1, ...],
        next_bias: InputTensor[dtype=F32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Computes all of an encoder block that follows its attention.

        Parameters:
            target: Device of the graph.
            n_state: Width of the state, a multiple of COLUMNS.
            store_output: False where only the normalized state is wanted.
            portable: True for kernels that every GPU runs.

        Args:
            output: The next state [n_batch, n_ctx, n_state], untouched if it is not stored.
            normed: The next state after the next block's layer norm, the same shape.
            attn_sum: Workspace for the state after the projection, the same shape.
            mlp_input: Workspace for that state after layer norm, the same shape.
            hidden: Workspace for the hidden layer, [n_batch, n_ctx, 4 * n_state].
            x: Output of the attention [n_batch, n_ctx, n_state].
            residual: The block's state, the same shape.
            out_w: Projection [n_state, n_state].
            out_bias: [n_state].
            norm_weight: The MLP's layer norm, [n_state].
            norm_bias: [n_state].
            widen_w: [4 * n_state, n_state].
            widen_bias: [4 * n_state].
            narrow_w: [n_state, 4 * n_state].
            narrow_bias: [n_state].
            next_weight: The next block's layer norm, [n_state].
            next_bias: [n_state].
            ctx: Stream.
        """
        comptime assert n_state % COLUMNS == 0, "a state fills whole tiles"
        var n_rows = x.dim_size(0) * x.dim_size(1)
        comptime if n_state == WIDTH and not portable:
            if n_rows >= MIN_FUSED_ROWS:
                ctx.enqueue_function[
                    post_attention_kernel[
                        dtype = mlp_input.dtype, norm_type = normed.dtype, store_output=store_output
                    ]
                ](
                    pointer(output),
                    pointer(normed),
                    tiled_tensor_map(
                        pointer(x),
                        n_rows=n_rows,
                        n_columns=WIDTH,
                        box_rows=ROWS,
                        box_tiles=1,
                        ctx=ctx,
                    ),
                    pointer(x),
                    pointer(residual),
                    tiled_tensor_map(
                        pointer(out_w),
                        n_rows=WIDTH,
                        n_columns=WIDTH,
                        box_rows=SIDE * 64,
                        box_tiles=1,
                        ctx=ctx,
                    ),
                    pointer(out_bias),
                    pointer(norm_weight),
                    pointer(norm_bias),
                    tiled_tensor_map(
                        pointer(widen_w),
                        n_rows=4 * WIDTH,
                        n_columns=WIDTH,
                        box_rows=64,
                        box_tiles=SIDE,
                        ctx=ctx,
                    ),
                    pointer(widen_bias),
                    tiled_tensor_map(
                        pointer(narrow_w),
                        n_rows=WIDTH,
                        n_columns=4 * WIDTH,
                        box_rows=SIDE * 64,
                        box_tiles=1,
                        ctx=ctx,
                    ),
                    pointer(narrow_bias),
                    pointer(next_weight),
                    pointer(next_bias),
                    Int32(n_rows),
                    grid_dim=ceildiv(n_rows, ROWS),
                    block_dim=WARPGROUP * GROUPS,
                    shared_mem_bytes=BYTES,
                    func_attribute=FuncAttribute.MAX_DYNAMIC_SHARED_SIZE_BYTES(UInt32(BYTES)),
                    attributes=pdl_attributes(),
                )
                return
        encoder_matmul[
            n_out=n_state,
            epilogue = Epilogue(gelu=False, residual_norm=True, store_output=True),
            portable=portable,
        ](
            Operands(
                output=pointer(attn_sum),
                normed=pointer(mlp_input),
                x=pointer(x),
                w=pointer(out_w),
                bias=pointer(out_bias),
                residual=pointer(residual),
                norm_weight=pointer(norm_weight),
                norm_bias=pointer(norm_bias),
            ),
            Shape(n_batch=1, n_rows=n_rows, n_in=n_state, n_residual_rows=n_rows),
            ctx,
        )
        # Nothing is added or normalized here: these pointers are not read.
        encoder_matmul[
            n_out = 4 * n_state,
            epilogue = Epilogue(gelu=True, residual_norm=False, store_output=True),
            portable=portable,
        ](
            Operands(
                output=pointer(hidden),
                normed=pointer(hidden),
                x=pointer(mlp_input),
                w=pointer(widen_w),
                bias=pointer(widen_bias),
                residual=pointer(widen_bias),
                norm_weight=pointer(widen_bias),
                norm_bias=pointer(widen_bias),
            ),
            Shape(n_batch=1, n_rows=n_rows, n_in=n_state, n_residual_rows=1),
            ctx,
        )
        # A sum that is not wanted takes the place of the state that is added to it.
        comptime in_place = portable and not store_output
        encoder_matmul[
            n_out=n_state,
            epilogue = Epilogue(
                gelu=False, residual_norm=True, store_output = store_output or in_place
            ),
            portable=portable,
        ](
            Operands(
                output=pointer(attn_sum) if in_place else pointer(output),
                normed=pointer(normed),
                x=pointer(hidden),
                w=pointer(narrow_w),
                bias=pointer(narrow_bias),
                residual=pointer(attn_sum),
                norm_weight=pointer(next_weight),
                norm_bias=pointer(next_bias),
            ),
            Shape(n_batch=1, n_rows=n_rows, n_in=4 * n_state, n_residual_rows=n_rows),
            ctx,
        )
