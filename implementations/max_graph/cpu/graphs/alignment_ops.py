"""The custom operations of word timing, as functions on graph values."""

from collections.abc import Sequence

from max.dtype import DType
from max.graph import BufferValue, TensorType, TensorValue, ops

from implementations.max_graph.cpu.graphs.ops import (
    CPU,
    Parameters,
    StepInputs,
    n_threads,
    run_steps,
)
from implementations.max_graph.graphs.aligned_text import TEXT_FIELDS

_TEXT: Parameters = {"text_fields": " ".join(TEXT_FIELDS)}


def prefill_probs(
    inputs: StepInputs, scores: BufferValue, requested: Sequence[TensorValue]
) -> TensorValue:
    """A text's tokens -> the probability of each after those before it, [n_text].

    Args:
        inputs: The decoder.
        scores: Filled with cross-attention scores before softmax, [n_scores, n_new, n_audio_ctx].
        requested: All tokens [n_new], those of the text [n_text], (layer, head) pairs whose scores
            are wanted [n_scores, 2], and the text's fields [N_TEXT_FIELDS].
    """
    type_ = TensorType(DType.float32, [requested[1].shape[0]], CPU)
    return run_steps("prefill_probs", inputs, [scores, *requested], type_, _TEXT)


def alignment_matrix(scores: BufferValue, text: TensorValue, targets: TensorValue) -> TensorValue:
    """Scores [n_scores, n_new, n_audio_ctx], lost -> [n_text + 1, n_audio_ctx].

    Lines are those of <|notimestamps|> and of the text; `targets` are the latter's tokens.
    """
    type_ = TensorType(DType.float32, [targets.shape[0] + 1, scores.shape[2]], CPU)
    (matrix,) = ops.inplace_custom(
        "whisper_cpu_alignment_matrix", CPU, [scores, text, n_threads()], [type_], _TEXT
    )
    return matrix.tensor


def dtw(matrix: TensorValue, text: TensorValue) -> TensorValue:
    """[n_lines, n_audio_ctx] -> position at which each line's token begins, [n_lines]."""
    type_ = TensorType(DType.int32, [matrix.shape[0]], CPU)
    (positions,) = ops.custom("whisper_cpu_dtw", CPU, [matrix, text], [type_], _TEXT)
    return positions.tensor
