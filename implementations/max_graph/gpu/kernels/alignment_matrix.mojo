"""Matrix of tokens by audio positions from which a text is aligned with its window.

It is implementations/alignment.py's: softmax over positions, standard score over tokens, median
over seven positions, mean over heads.
"""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu import WARP_SIZE, block_idx, thread_idx
from max.gpu.host import DeviceContext
from max.gpu.sync import barrier
from std.math import ceildiv, exp, sqrt
from std.memory import unsafe_stack_allocation
from .aligned_text import N_POSITIONS, N_SOT, N_TEXT_FIELDS, N_TOKENS, TEXT_FIELDS
from .argmax import THREADS, WARPS, empty_argmax_sum
from .pointers import F32, FloatPointer, IntPointer, MutableTensor, pointer
from .wgmma import Shared

comptime MEDIAN_WIDTH = 7
comptime PAD = MEDIAN_WIDTH // 2
"""Neighbours on each side; no more positions than these are not filtered, as upstream does."""


def softmax_kernel(
    scores: FloatPointer, texts: IntPointer, n_heads: Int32, n_new: Int32, n_keys: Int32
):
    """Turns a token's scores in a head into weights by each block; blocks: (token, head, row).

    Args:
        scores: [n_rows, n_heads, n_new, n_keys].
        texts: [n_rows, N_TEXT_FIELDS].
        n_heads: Number of heads.
        n_new: Tokens of a row.
        n_keys: Positions of a window.
    """
    var row = Int(block_idx.z)
    var text = texts.unsafe_offset(row * N_TEXT_FIELDS)
    var token = Int(block_idx.x)
    if token >= Int(text[unsafe_offset=N_TOKENS]):
        return
    var n_positions = Int(text[unsafe_offset=N_POSITIONS])
    var line = (row * Int(n_heads) + Int(block_idx.y)) * Int(n_new) + token
    var at = scores.unsafe_offset(line * Int(n_keys))
    var total = unsafe_stack_allocation[2, Float32, address_space=.SHARED]()
    var all = empty_argmax_sum()
    for i in range(Int(thread_idx.x), n_positions, THREADS):
        all.add(at[unsafe_offset=i], Int32(i))
    all.join_block()
    if thread_idx.x == 0:
        total[unsafe_offset=0] = all.max_logit
        total[unsafe_offset=1] = all.sum_exp
    barrier()
    var highest = total[unsafe_offset=0]
    var sum = total[unsafe_offset=1]
    for i in range(Int(thread_idx.x), n_positions, THREADS):
        at[unsafe_offset=i] = exp(at[unsafe_offset=i] - highest) / sum


@always_inline
def add_warps(workspace: Shared[F32], value: Float32) -> Float32:
    """Returns the sum over a block's warps of each lane's values; all threads must call it.

    Args:
        workspace: [WARPS, WARP_SIZE].
        value: This thread's value.
    """
    workspace[unsafe_offset=Int(thread_idx.x)] = value
    barrier()
    var total = Float32(0)
    comptime for i in range(WARPS):
        total += workspace[unsafe_offset=i * WARP_SIZE + Int(thread_idx.x) % WARP_SIZE]
    barrier()
    return total


def standard_score_kernel(
    weights: FloatPointer, texts: IntPointer, n_heads: Int32, n_new: Int32, n_keys: Int32
):
    """Standardizes WARP_SIZE positions over a text's tokens; blocks: (positions, head, row).

    A warp takes every WARPS-th token. For the arguments see `softmax_kernel`.
    """
    var row = Int(block_idx.z)
    var text = texts.unsafe_offset(row * N_TEXT_FIELDS)
    var n_positions = Int(text[unsafe_offset=N_POSITIONS])
    if Int(block_idx.x) * WARP_SIZE >= n_positions:
        return
    var n_tokens = Int(text[unsafe_offset=N_TOKENS])
    var first = Int(thread_idx.x) // WARP_SIZE
    var position = Int(block_idx.x) * WARP_SIZE + Int(thread_idx.x) % WARP_SIZE
    var is_inside = position < n_positions
    # Lanes beyond the last position repeat it, and store nothing.
    var line = (row * Int(n_heads) + Int(block_idx.y)) * Int(n_new)
    var at = weights.unsafe_offset(line * Int(n_keys) + min(position, n_positions - 1))
    var workspace = unsafe_stack_allocation[THREADS, Float32, address_space=.SHARED]()
    var sum = Float32(0)
    for token in range(first, n_tokens, WARPS):
        sum += at[unsafe_offset=token * Int(n_keys)]
    var mean = add_warps(workspace, sum) / Float32(n_tokens)
    var squares = Float32(0)
    for token in range(first, n_tokens, WARPS):
        squares += (at[unsafe_offset=token * Int(n_keys)] - mean) ** 2
    var deviation = sqrt(add_warps(workspace, squares) / Float32(n_tokens))
    if is_inside:
        for token in range(first, n_tokens, WARPS):
            var score = (at[unsafe_offset=token * Int(n_keys)] - mean) / deviation
            at[unsafe_offset=token * Int(n_keys)] = score


@always_inline
def exchange[low: Int, high: Int](mut values: Array[Float32, MEDIAN_WIDTH]):
    """Puts the smaller of two values first."""
    var smaller = min(values[low], values[high])
    values[high] = max(values[low], values[high])
    values[low] = smaller


@always_inline
def median(var values: Array[Float32, MEDIAN_WIDTH]) -> Float32:
    """Returns the median of seven values: exchanges after which it is the fourth (Paeth, 1990)."""
    exchange[0, 5](values)
    exchange[0, 3](values)
    exchange[1, 6](values)
    exchange[2, 4](values)
    exchange[0, 1](values)
    exchange[3, 5](values)
    exchange[2, 6](values)
    exchange[2, 3](values)
    exchange[3, 6](values)
    exchange[4, 5](values)
    exchange[1, 4](values)
    exchange[1, 3](values)
    exchange[3, 4](values)
    return values[PAD]


@always_inline
def filtered(line: FloatPointer, position: Int, n_positions: Int) -> Float32:
    """Returns the median of a position and its neighbours, reflected at both ends."""
    if n_positions <= PAD:
        return line[unsafe_offset=position]
    var values = Array[Float32, MEDIAN_WIDTH](fill=0)
    comptime for i in range(MEDIAN_WIDTH):
        var neighbour = abs(position + i - PAD)
        if neighbour >= n_positions:
            neighbour = 2 * (n_positions - 1) - neighbour
        values[i] = line[unsafe_offset=neighbour]
    return median(values^)


def filtered_mean_kernel(
    matrix: FloatPointer,
    scores: FloatPointer,
    texts: IntPointer,
    n_heads: Int32,
    n_new: Int32,
    n_keys: Int32,
):
    """Averages filtered scores over heads, a position by each thread; blocks: (part, token, row).

    Args:
        matrix: [n_rows, n_new, n_keys]; the first line is that of <|notimestamps|>.
        scores: Standard scores, [n_rows, n_heads, n_new, n_keys].
        texts: [n_rows, N_TEXT_FIELDS].
        n_heads: Number of heads.
        n_new: Tokens of a row.
        n_keys: Positions of a window.
    """
    var row = Int(block_idx.z)
    var text = texts.unsafe_offset(row * N_TEXT_FIELDS)
    var token = Int(block_idx.y) + Int(text[unsafe_offset=N_SOT])
    var n_positions = Int(text[unsafe_offset=N_POSITIONS])
    var position = Int(block_idx.x) * THREADS + Int(thread_idx.x)
    if token >= Int(text[unsafe_offset=N_TOKENS]) - 1 or position >= n_positions:
        return
    var sum = Float32(0)
    for head in range(Int(n_heads)):
        var line = (row * Int(n_heads) + head) * Int(n_new) + token
        sum += filtered(scores.unsafe_offset(line * Int(n_keys)), position, n_positions)
    var to = (row * Int(n_new) + Int(block_idx.y)) * Int(n_keys) + position
    matrix[unsafe_offset=to] = sum / Float32(n_heads)


@extensibility.register("whisper_gpu_alignment_matrix")
struct AlignmentMatrix:
    @staticmethod
    def execute[
        target: StaticString, text_fields: StaticString
    ](
        matrix: OutputTensor[dtype=F32, rank=3, ...],
        scores: MutableTensor[dtype=F32, rank=4, ...],
        texts: InputTensor[dtype=DType.int32, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        """Computes each row's matrix; the scores are lost.

        Parameters:
            target: Device of the graph.
            text_fields: Python's order of a text's fields.

        Args:
            matrix: [n_rows, n_new, n_audio_ctx]: lines of <|notimestamps|> and of the text, filled
                as far as the text's positions go.
            scores: Scores before softmax, [n_rows, n_heads, n_new, n_audio_ctx].
            texts: [n_rows, N_TEXT_FIELDS].
            ctx: Stream.
        """
        comptime assert text_fields == TEXT_FIELDS, "Python and Mojo differ in a text's fields"
        var n_rows = scores.dim_size(0)
        var n_heads = scores.dim_size(1)
        var n_new = scores.dim_size(2)
        var n_keys = scores.dim_size(3)
        ctx.enqueue_function[softmax_kernel](
            pointer(scores),
            pointer(texts),
            Int32(n_heads),
            Int32(n_new),
            Int32(n_keys),
            grid_dim=(n_new, n_heads, n_rows),
            block_dim=THREADS,
        )
        ctx.enqueue_function[standard_score_kernel](
            pointer(scores),
            pointer(texts),
            Int32(n_heads),
            Int32(n_new),
            Int32(n_keys),
            grid_dim=(ceildiv(n_keys, WARP_SIZE), n_heads, n_rows),
            block_dim=THREADS,
        )
        ctx.enqueue_function[filtered_mean_kernel](
            pointer(matrix),
            pointer(scores),
            pointer(texts),
            Int32(n_heads),
            Int32(n_new),
            Int32(n_keys),
            grid_dim=(ceildiv(n_keys, THREADS), n_new, n_rows),
            block_dim=THREADS,
        )
