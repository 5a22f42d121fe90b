"""The custom operations of word timing, as functions on graph values.

Numbers and orders of fields that Python and Mojo share are parameters, which Mojo checks.
"""

from max.dtype import DType
from max.graph import BufferValue, TensorType, TensorValue, ops

from implementations.max_graph.gpu.graphs.ops import Parameters, gpu, one_tensor
from implementations.max_graph.graphs.aligned_text import TEXT_FIELDS

_TEXT: Parameters = {"text_fields": " ".join(TEXT_FIELDS)}


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
    n_rows, n_new, _ = matrix.shape
    (positions,) = ops.custom(
        "whisper_gpu_dtw",
        gpu(),
        [matrix, texts],
        [TensorType(DType.int32, [n_rows, n_new], gpu())],
        _TEXT,
    )
    return positions.tensor


def token_probs(logits: TensorValue, targets: TensorValue, texts: TensorValue) -> TensorValue:
    """[1, n_lines, n_vocab], tokens [n_lines] -> probabilities [n_lines], before the end of text.

    `texts` are [n_rows, N_TEXT_FIELDS].
    """
    values = [logits, targets, texts]
    return one_tensor("whisper_gpu_token_probs", values, [targets.shape[0]], parameters=_TEXT)
