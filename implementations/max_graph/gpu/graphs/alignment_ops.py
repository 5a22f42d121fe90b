"""The custom operations of word timing, as functions on graph values.

Numbers and orders of fields that Python and Mojo share are parameters, which Mojo checks.
"""

from max.dtype import DType
from max.graph import BufferValue, TensorType, TensorValue, ops

from implementations.max_graph.gpu.graphs.ops import Parameters, gpu, is_portable, one_tensor
from implementations.max_graph.graphs.aligned_text import TEXT_FIELDS

_TEXT: Parameters = {"text_fields": " ".join(TEXT_FIELDS)}
_CHUNK = 16
"""Cells of a word of the trace of dynamic time warping."""
_HOPPER_BYTES, _LEAST_BYTES = 227 * 1024, 99 * 1024
"""Shared memory of a block on Hopper, and on every GPU since Ampere."""


def store_cross_attention_scores(
    scores: BufferValue,
    q: TensorValue,
    audio: tuple[TensorValue, TensorValue],
    heads: TensorValue,
    layer: int,
    head_dim: int,
) -> None:
    """Fills scores [n_rows, n_heads, n_new, n_audio_ctx] of those of heads [n_heads, 2] of `layer`.

    Args:
        scores: Filled with scores before softmax.
        q: [n_rows, n_new, n_state].
        audio: Keys and values of all layers, and each row's window.
        heads: Layer and head of each.
        layer: The decoder's layer.
        head_dim: Width of a head.
    """
    ops.inplace_custom(
        "whisper_gpu_cross_attention_scores",
        gpu(),
        [scores, q, *audio, heads],
        [],
        {"head_dim": head_dim, "layer": layer},
    )


def alignment_matrix(scores: BufferValue, texts: TensorValue) -> TensorValue:
    """Scores [n_rows, n_heads, n_new, n_audio_ctx], lost -> [n_rows, n_new, n_audio_ctx].

    Lines are those of <|notimestamps|> and of the text; `texts` is [n_rows, N_TEXT_FIELDS].
    """
    n_rows, _, n_new, n_audio_ctx = scores.shape
    (matrix,) = ops.inplace_custom(
        "whisper_gpu_alignment_matrix",
        gpu(),
        [scores, texts],
        [TensorType(DType.float32, [n_rows, n_new, n_audio_ctx], gpu())],
        _TEXT,
    )
    return matrix.tensor


def dtw(matrix: TensorValue, texts: TensorValue) -> TensorValue:
    """[n_rows, n_new, n_audio_ctx] -> position at which each line's token begins, [n_rows, n_new].

    Only lines of the texts are filled; `texts` is [n_rows, N_TEXT_FIELDS].
    """
    n_rows, n_new, n_audio_ctx = matrix.shape
    n_words = (n_audio_ctx + (_CHUNK - 1)) // _CHUNK
    bytes_of_block = _LEAST_BYTES if is_portable() else _HOPPER_BYTES
    positions, _ = ops.custom(
        "whisper_gpu_dtw",
        gpu(),
        [matrix, texts],
        [
            TensorType(DType.int32, [n_rows, n_new], gpu()),
            TensorType(DType.uint32, [n_rows, n_new, n_words], gpu()),
        ],
        _TEXT | {"chunk": _CHUNK, "max_shared_bytes": bytes_of_block},
    )
    return positions.tensor


def token_probs(logits: TensorValue, targets: TensorValue, texts: TensorValue) -> TensorValue:
    """[1, n_lines, n_vocab], tokens [n_lines] -> probabilities [n_lines], before the end of text.

    `texts` are [n_rows, N_TEXT_FIELDS].
    """
    values = [logits, targets, texts]
    return one_tensor("whisper_gpu_token_probs", values, [targets.shape[0]], parameters=_TEXT)
