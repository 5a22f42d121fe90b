"""Embedding of tokens and positions, and rows taken out of a text."""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu import block_idx, thread_idx
from max.gpu.host import DeviceContext
from .pdl import launch_dependents, pdl_attributes, wait_on_dependencies
from .pointers import F32, DevicePointer, FloatPointer, IntPointer, MutableTensor, pointer
from .token_rules import N_STATE_FIELDS, OFFSET, STATE_FIELDS, TOKEN

comptime THREADS = 128


def embed_tokens_kernel[
    w_type: DType
](
    output: FloatPointer,
    tokens: IntPointer,
    offsets: IntPointer,
    embedding: DevicePointer[w_type],
    positional: FloatPointer,
    n_new: Int32,
    n_state: Int32,
    n_ctx: Int32,
):
    """Embeds a token by each block; blocks: (new token, row). See `EmbedTokens`."""
    var at = Int(block_idx.y) * Int(n_new) + Int(block_idx.x)
    var token = Int(tokens[unsafe_offset=at])
    var position = min(
        Int(offsets[unsafe_offset=Int(block_idx.y)]) + Int(block_idx.x), Int(n_ctx) - 1
    )
    for i in range(Int(thread_idx.x), Int(n_state), THREADS):
        output[unsafe_offset=at * Int(n_state) + i] = (
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
        """Embeds new tokens of each row; positions beyond the last one are the last one.

        Args:
            output: [n_rows, n_new, n_state].
            tokens: [n_rows, n_new].
            offsets: [n_rows], each row's first position.
            embedding: [n_vocab, n_state].
            positional: [n_ctx, n_state].
            ctx: Stream.
        """
        ctx.enqueue_function[embed_tokens_kernel[embedding.dtype]](
            pointer(output),
            pointer(tokens),
            pointer(offsets),
            pointer(embedding),
            pointer(positional),
            Int32(tokens.dim_size(1)),
            Int32(output.dim_size(2)),
            Int32(positional.dim_size(0)),
            grid_dim=(tokens.dim_size(1), tokens.dim_size(0)),
            block_dim=THREADS,
        )


def embed_last_tokens_kernel[
    w_type: DType
](
    output: FloatPointer,
    offsets: IntPointer,
    states: IntPointer,
    embedding: DevicePointer[w_type],
    positional: FloatPointer,
    n_state: Int32,
    n_ctx: Int32,
):
    """Embeds the token of a row by each block; see `EmbedLastTokens`."""
    launch_dependents()
    wait_on_dependencies()
    var row = Int(block_idx.x)
    var token = Int(states[unsafe_offset=row * N_STATE_FIELDS + TOKEN])
    var offset = min(states[unsafe_offset=row * N_STATE_FIELDS + OFFSET], n_ctx - 1)
    if thread_idx.x == 0:
        offsets[unsafe_offset=row] = offset
    for i in range(Int(thread_idx.x), Int(n_state), THREADS):
        output[unsafe_offset=row * Int(n_state) + i] = (
            embedding[unsafe_offset=token * Int(n_state) + i].cast[F32]()
            + positional[unsafe_offset=Int(offset) * Int(n_state) + i]
        )


@extensibility.register("whisper_gpu_embed_last_tokens")
struct EmbedLastTokens:
    @staticmethod
    def execute[
        target: StaticString, state_fields: StaticString
    ](
        output: OutputTensor[dtype=F32, rank=3, ...],
        offsets: OutputTensor[dtype=DType.int32, rank=1, ...],
        states: MutableTensor[dtype=DType.int32, rank=2, ...],
        embedding: InputTensor[rank=2, ...],
        positional: InputTensor[dtype=F32, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        """Embeds the token that each row is fed next, by its state.

        Args:
            output: [n_rows, 1, n_state].
            offsets: Positions of the tokens, [n_rows].
            states: [n_rows, N_STATE_FIELDS], only read.
            embedding: [n_vocab, n_state].
            positional: [n_ctx, n_state].
            ctx: Stream.
        """
        comptime assert state_fields == STATE_FIELDS, "Python and Mojo differ in a state's fields"
        ctx.enqueue_function[embed_last_tokens_kernel[embedding.dtype]](
            pointer(output),
            pointer(offsets),
            pointer(states),
            pointer(embedding),
            pointer(positional),
            Int32(output.dim_size(2)),
            Int32(positional.dim_size(0)),
            grid_dim=states.dim_size(0),
            block_dim=THREADS,
            attributes=pdl_attributes(),
        )


def gather_rows_kernel(output: FloatPointer, x: FloatPointer, rows: IntPointer, n_state: Int32):
    """Copies a row by each block; see `GatherRows`."""
    var row = Int(rows[unsafe_offset=Int(block_idx.x)])
    for i in range(Int(thread_idx.x), Int(n_state), THREADS):
        output[unsafe_offset=Int(block_idx.x) * Int(n_state) + i] = x[
            unsafe_offset=row * Int(n_state) + i
        ]


@extensibility.register("whisper_gpu_gather_rows")
struct GatherRows:
    @staticmethod
    def execute[
        target: StaticString
    ](
        output: OutputTensor[dtype=F32, rank=3, ...],
        x: InputTensor[dtype=F32, rank=3, ...],
        rows: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Copies rows of x [n_rows, n_new, n_state], by number, to [1, n_selected, n_state]."""
        ctx.enqueue_function[gather_rows_kernel](
            pointer(output),
            pointer(x),
            pointer(rows),
            Int32(x.dim_size(2)),
            grid_dim=rows.dim_size(0),
            block_dim=THREADS,
        )
