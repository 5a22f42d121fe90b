"""The encoder's products as operations: which kernel with which tiles, and how it is launched."""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext, Dim, FuncAttribute
from std.math import ceildiv
from .after_attention import BYTES, GROUPS, ROWS, SIDE, TILES, WIDTH, after_attention_kernel
from .bulk import describe_tensor, describe_tiles
from .launch import early
from .pointers import F32, Floats, Memory, memory
from .products import product_kernel
from .rows import PART, layer_norm, round_rows
from .tensor_cores import GROUP, ROW

comptime COLUMNS = 128
comptime WIDEST = 8
"""Blocks of a cluster at most; wider rows have their layer norm in a kernel of its own."""
comptime FEW_ROWS = 5000
"""Up to here smaller tiles are better."""
comptime MANY_ROWS = 9000
"""From here on one kernel for all that follows attention is better than three."""


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
        multiply[n_out, n_taps, stride, has_gelu, has_residual, has_norm, keeps](
            memory(output),
            memory(normed),
            memory(x),
            memory(w),
            memory(bias),
            memory(residual),
            memory(norm_weight),
            memory(norm_bias),
            n_batch,
            x.dim_size(0) * x.dim_size(1) // stride // n_batch,
            x.dim_size(2),
            residual.size() // n_out,
            ctx,
        )


@extensibility.register("whisper_gpu_after_attention")
struct AfterAttention:
    @staticmethod
    def execute[
        target: StaticString, n_state: Int, keeps: Bool
    ](
        output: OutputTensor[dtype=F32, rank=3, ...],
        normed: OutputTensor[rank=3, ...],
        between: OutputTensor[dtype=F32, rank=3, ...],
        rounded: OutputTensor[rank=3, ...],
        hidden: OutputTensor[dtype = rounded.dtype, rank=3, ...],
        x: InputTensor[dtype = rounded.dtype, rank=3, ...],
        residual: InputTensor[dtype=F32, rank=3, ...],
        out_w: InputTensor[dtype = rounded.dtype, rank=2, ...],
        out_bias: InputTensor[dtype=F32, rank=1, ...],
        norm_weight: InputTensor[dtype=F32, rank=1, ...],
        norm_bias: InputTensor[dtype=F32, rank=1, ...],
        widen_w: InputTensor[dtype = rounded.dtype, rank=2, ...],
        widen_bias: InputTensor[dtype=F32, rank=1, ...],
        narrow_w: InputTensor[dtype = rounded.dtype, rank=2, ...],
        narrow_bias: InputTensor[dtype=F32, rank=1, ...],
        next_weight: InputTensor[dtype=F32, rank=1, ...],
        next_bias: InputTensor[dtype=F32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """What attention gave [n_batch, n_ctx, n_state] to the next block's state and its norm.

        `output` is left alone if it is not kept. `between`, `rounded` and `hidden` are room for
        what passes from kernel to kernel where there are several.
        """
        var n_rows = x.dim_size(0) * x.dim_size(1)
        comptime if n_state == WIDTH:
            if n_rows >= MANY_ROWS:
                ctx.enqueue_function[after_attention_kernel[rounded.dtype, normed.dtype, keeps]](
                    memory(output),
                    memory(normed),
                    describe_tiles(memory(x), n_rows, WIDTH, ROWS, 1, ctx),
                    memory(x),
                    memory(residual),
                    describe_tiles(memory(out_w), WIDTH, WIDTH, SIDE * 64, 1, ctx),
                    memory(out_bias),
                    memory(norm_weight),
                    memory(norm_bias),
                    describe_tiles(memory(widen_w), 4 * WIDTH, WIDTH, 64, SIDE, ctx),
                    memory(widen_bias),
                    describe_tiles(memory(narrow_w), WIDTH, 4 * WIDTH, SIDE * 64, 1, ctx),
                    memory(narrow_bias),
                    memory(next_weight),
                    memory(next_bias),
                    Int32(n_rows),
                    grid_dim=ceildiv(n_rows, ROWS),
                    block_dim=GROUP * GROUPS,
                    shared_mem_bytes=BYTES,
                    func_attribute=FuncAttribute.MAX_DYNAMIC_SHARED_SIZE_BYTES(UInt32(BYTES)),
                    attributes=early(),
                )
                return
        multiply[n_state, 1, 1, False, True, True, True](
            memory(between),
            memory(rounded),
            memory(x),
            memory(out_w),
            memory(out_bias),
            memory(residual),
            memory(norm_weight),
            memory(norm_bias),
            1,
            n_rows,
            n_state,
            n_rows,
            ctx,
        )
        multiply[4 * n_state, 1, 1, True, False, False, True](
            memory(hidden),
            memory(hidden),
            memory(rounded),
            memory(widen_w),
            memory(widen_bias),
            memory(widen_bias),
            memory(widen_bias),
            memory(widen_bias),
            1,
            n_rows,
            n_state,
            1,
            ctx,
        )
        multiply[n_state, 1, 1, False, True, True, keeps](
            memory(output),
            memory(normed),
            memory(hidden),
            memory(narrow_w),
            memory(narrow_bias),
            memory(between),
            memory(next_weight),
            memory(next_bias),
            1,
            n_rows,
            4 * n_state,
            n_rows,
            ctx,
        )


def multiply[
    dtype: DType,
    out_type: DType,
    norm_type: DType,
    //,
    n_out: Int,
    n_taps: Int,
    stride: Int,
    has_gelu: Bool,
    has_residual: Bool,
    has_norm: Bool,
    keeps: Bool,
](
    output: Memory[out_type],
    normed: Memory[norm_type],
    x: Memory[dtype],
    w: Memory[dtype],
    bias: Floats,
    residual: Floats,
    norm_weight: Floats,
    norm_bias: Floats,
    n_batch: Int,
    n_rows: Int,
    n_in: Int,
    n_residual_rows: Int,
    ctx: DeviceContext,
) raises:
    """`n_rows` of each of the batch, from frames of `n_in`; see `ProductOf`."""
    var n_all = n_batch * n_rows

    @__parameter
    def run[groups: Int, columns: Int, stages: Int, lag: Int, with_norm: Bool]() raises:
        comptime rows = 64 * groups
        comptime across = n_out // columns if with_norm else 1
        comptime bytes = stages * ((rows + columns) * ROW * 2 + 16) + 16 + rows * across * 8
        ctx.enqueue_function[
            product_kernel[
                dtype,
                out_type,
                norm_type,
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
            output,
            normed,
            describe_tensor(x, n_batch, n_rows, stride * n_in, rows, ctx),
            describe_tensor(w, 1, n_out, n_taps * n_in, columns, ctx),
            bias,
            residual,
            norm_weight,
            norm_bias,
            Int32(n_rows),
            Int32(n_in),
            Int32(n_out),
            Int32(n_residual_rows),
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
        comptime if norm_type == F32:
            layer_norm(
                rebind[Floats](normed),
                rebind[Floats](output),
                norm_weight,
                norm_bias,
                n_all,
                n_out,
                ctx,
            )
        else:
            round_rows[norm_type, True, ceildiv(n_out, PART)](
                normed,
                rebind[Floats](output),
                norm_weight,
                norm_bias,
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
