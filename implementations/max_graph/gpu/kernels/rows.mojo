"""What works row by row: token embedding, choosing rows, layer norm, and a change of precision."""
import max.gpu.primitives.warp as warp
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu import block_idx, lane_id, thread_idx
from max.gpu.host import DeviceContext
from std.math import ceildiv, sqrt
from .launch import early, let_next_start, wait_for_previous
from .pointers import F32, Floats, Integers, Memory, load, memory

comptime THREADS = 128
comptime PART = 128
"""Values of a row that a warp reads at once."""


def embed_kernel[
    w_type: DType
](
    into: Floats,
    tokens: Integers,
    offsets: Integers,
    embedding: Memory[w_type],
    positional: Floats,
    n_new: Int32,
    n_state: Int32,
    n_ctx: Int32,
):
    """Blocks: (new token, row)."""
    var at = Int(block_idx.y) * Int(n_new) + Int(block_idx.x)
    var token = Int(tokens[unsafe_offset=at])
    var position = min(
        Int(offsets[unsafe_offset=Int(block_idx.y)]) + Int(block_idx.x), Int(n_ctx) - 1
    )
    for i in range(Int(thread_idx.x), Int(n_state), THREADS):
        into[unsafe_offset=at * Int(n_state) + i] = (
            embedding[unsafe_offset=token * Int(n_state) + i].cast[F32]()
            + positional[unsafe_offset=position * Int(n_state) + i]
        )


@extensibility.register("whisper_gpu_embed_tokens")
struct EmbedTokens:
    @staticmethod
    def execute[
        target: StaticString
    ](
        output: OutputTensor[dtype=F32, rank=3, ...],
        tokens: InputTensor[dtype=DType.int32, rank=2, ...],
        offsets: InputTensor[dtype=DType.int32, rank=1, ...],
        embedding: InputTensor[rank=2, ...],
        positional: InputTensor[dtype=F32, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        ctx.enqueue_function[embed_kernel[embedding.dtype]](
            memory(output),
            memory(tokens),
            memory(offsets),
            memory(embedding),
            memory(positional),
            Int32(tokens.dim_size(1)),
            Int32(output.dim_size(2)),
            Int32(positional.dim_size(0)),
            grid_dim=(tokens.dim_size(1), tokens.dim_size(0)),
            block_dim=THREADS,
        )


def select_kernel(into: Floats, x: Floats, rows: Integers, n_state: Int32):
    var row = Int(rows[unsafe_offset=Int(block_idx.x)])
    for i in range(Int(thread_idx.x), Int(n_state), THREADS):
        into[unsafe_offset=Int(block_idx.x) * Int(n_state) + i] = x[
            unsafe_offset=row * Int(n_state) + i
        ]


@extensibility.register("whisper_gpu_select_rows")
struct SelectRows:
    @staticmethod
    def execute[
        target: StaticString
    ](
        output: OutputTensor[dtype=F32, rank=3, ...],
        x: InputTensor[dtype=F32, rank=3, ...],
        rows: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        ctx.enqueue_function[select_kernel](
            memory(output),
            memory(x),
            memory(rows),
            Int32(x.dim_size(2)),
            grid_dim=rows.dim_size(0),
            block_dim=THREADS,
        )


def layer_norm_kernel(
    into: Floats, x: Floats, weight: Floats, bias: Floats, n_rows: Int32, n_state: Int32
):
    """A warp takes a row; epsilon 1e-5 as in torch."""
    let_next_start()
    wait_for_previous()
    var row = Int(block_idx.x) * (THREADS // 32) + Int(thread_idx.x) // 32
    if row >= Int(n_rows):
        return
    var at = row * Int(n_state)
    var sum = Float32(0)
    for i in range(Int(lane_id()), Int(n_state), 32):
        sum += x[unsafe_offset=at + i]
    var mean = warp.sum(sum) / Float32(n_state)
    var squares = Float32(0)
    for i in range(Int(lane_id()), Int(n_state), 32):
        squares += (x[unsafe_offset=at + i] - mean) ** 2
    var scale = 1 / sqrt(warp.sum(squares) / Float32(n_state) + 1e-5)
    for i in range(Int(lane_id()), Int(n_state), 32):
        into[unsafe_offset=at + i] = (x[unsafe_offset=at + i] - mean) * scale * weight[
            unsafe_offset=i
        ] + bias[unsafe_offset=i]


def layer_norm(
    into: Floats,
    x: Floats,
    weight: Floats,
    bias: Floats,
    n_rows: Int,
    n_state: Int,
    ctx: DeviceContext,
) raises:
    ctx.enqueue_function[layer_norm_kernel](
        into,
        x,
        weight,
        bias,
        Int32(n_rows),
        Int32(n_state),
        grid_dim=ceildiv(n_rows, THREADS // 32),
        block_dim=THREADS,
        attributes=early(),
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
        layer_norm(
            memory(output),
            memory(x),
            memory(weight),
            memory(bias),
            x.dim_size(0) * x.dim_size(1),
            x.dim_size(2),
            ctx,
        )


@always_inline
def normed_row[
    n_parts: Int
](
    x: Floats,
    weight: Floats,
    bias: Floats,
    n_state: Int,
    out parts: Array[SIMD[F32, 4], n_parts],
):
    """A row normalised by a warp: of each part a lane has four neighbours. Epsilon as in torch."""
    var shift = Int(lane_id()) * 4
    var sums = SIMD[F32, 4](0)
    parts = Array[SIMD[F32, 4], n_parts](fill=SIMD[F32, 4](0))
    comptime for i in range(n_parts):
        if i * PART + shift < n_state:
            parts[i] = load[4](x, i * PART + shift)
            sums += parts[i]
    var mean = warp.sum(sums.reduce_add()) / Float32(n_state)
    var squares = SIMD[F32, 4](0)
    comptime for i in range(n_parts):
        if i * PART + shift < n_state:
            squares += (parts[i] - mean) ** 2
    var scale = 1 / sqrt(warp.sum(squares.reduce_add()) / Float32(n_state) + 1e-5)
    comptime for i in range(n_parts):
        var k = i * PART + shift
        if k < n_state:
            parts[i] = (parts[i] - mean) * scale * load[4](weight, k) + load[4](bias, k)


def round_kernel[
    out_type: DType, has_norm: Bool, n_parts: Int
](
    into: Memory[out_type],
    x: Floats,
    weight: Floats,
    bias: Floats,
    n_rows: Int32,
    n_state: Int32,
):
    """A warp takes a row, normalises it if asked for, and rounds it."""
    let_next_start()
    wait_for_previous()
    var row = Int(block_idx.x) * (THREADS // 32) + Int(thread_idx.x) // 32
    if row >= Int(n_rows):
        return
    var at = row * Int(n_state)
    var shift = Int(lane_id()) * 4
    var parts = Array[SIMD[F32, 4], n_parts](fill=SIMD[F32, 4](0))
    comptime if has_norm:
        parts = normed_row[n_parts](x.unsafe_offset(at), weight, bias, Int(n_state))
    comptime for i in range(n_parts):
        var k = i * PART + shift
        if k < Int(n_state):
            comptime if not has_norm:
                parts[i] = load[4](x, at + k)
            into.unsafe_store[width=4, alignment=8](at + k, parts[i].cast[out_type]())


def round_rows[
    out_type: DType, has_norm: Bool, n_parts: Int
](
    into: Memory[out_type],
    x: Floats,
    weight: Floats,
    bias: Floats,
    n_rows: Int,
    n_state: Int,
    ctx: DeviceContext,
) raises:
    """Rows of float32 with n_parts * PART values at most, normalised if asked for, rounded."""
    ctx.enqueue_function[round_kernel[out_type, has_norm, n_parts]](
        into,
        x,
        weight,
        bias,
        Int32(n_rows),
        Int32(n_state),
        grid_dim=ceildiv(n_rows, THREADS // 32),
        block_dim=THREADS,
        attributes=early(),
    )
