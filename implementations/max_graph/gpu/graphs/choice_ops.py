"""The custom operations of the decode loop, as functions on graph values: the choice of tokens.

Numbers and orders of fields that Python and Mojo share are parameters, which Mojo uses or checks.
"""

from collections.abc import Sequence

from max.dtype import DType
from max.graph import BufferValue, Dim, TensorType, TensorValue, ops

from implementations.max_graph.gpu.graphs.ops import Parameters, gpu, one_tensor
from implementations.max_graph.graphs.token_state import RULE_FIELDS, STATE_FIELDS

N_PARTS = 32
"""Parts of the vocabulary that are reduced side by side, combined by a warp."""
TOP_K = 8
"""Tokens that `top_k` finds for each beam: one more than the beams that a window may have."""
N_LISTS = 256
"""Sorted lists that `top_k` merges."""
BACK_POINTER_FIELDS = ("token", "source", "score")
"""Fields of a beam in a step: its token, the beam that it continues, the score of what ended."""
N_BACK_POINTER_FIELDS = len(BACK_POINTER_FIELDS)

_STATE: Parameters = {"state_fields": " ".join(STATE_FIELDS)}
_RULES: Parameters = {"rule_fields": " ".join(RULE_FIELDS)}


def embed_last_tokens(
    states: BufferValue, embedding: TensorValue, positional: TensorValue
) -> tuple[TensorValue, TensorValue]:
    """Embeds each row's next token, [n_rows, 1, n_state], and gives its position, [n_rows]."""
    n_rows = states.shape[0]
    embedded, offsets = ops.inplace_custom(
        "whisper_gpu_embed_last_tokens",
        gpu(),
        [states, embedding, positional],
        [
            TensorType(DType.float32, [n_rows, 1, positional.shape[1]], gpu()),
            TensorType(DType.int32, [n_rows], gpu()),
        ],
        _STATE,
    )
    return embedded.tensor, offsets.tensor


def sample(
    results: Sequence[BufferValue],
    logits: TensorValue,
    choice: Sequence[TensorValue],
    *,
    is_first: bool,
) -> None:
    """Chooses each row's next token.

    Args:
        results: States, history and sums of log-probabilities, which are updated.
        logits: [1, n_lines, n_vocab].
        choice: Rules, mask, random numbers and temperature.
        is_first: True after a prompt.
    """
    ops.inplace_custom(
        "whisper_gpu_sample",
        gpu(),
        [*results, logits, *choice],
        [TensorType(DType.uint32, [results[0].shape[0], N_PARTS * 6], gpu())],
        {"is_first": is_first, "n_parts": N_PARTS, **_STATE, **_RULES},
    )


def top_k(
    states: BufferValue,
    logits: TensorValue,
    rules: TensorValue,
    mask: TensorValue,
    *,
    is_first: bool,
) -> TensorValue:
    """Finds the TOP_K most likely next tokens and their log-probabilities, [n_rows, TOP_K, 2].

    The highest come first; tokens that the rules forbid come last, with minus infinity.
    """
    n_rows = states.shape[0]
    found, _ = ops.inplace_custom(
        "whisper_gpu_top_k",
        gpu(),
        [states, logits, rules, mask],
        [
            TensorType(DType.float32, [n_rows, TOP_K, 2], gpu()),
            TensorType(DType.uint32, [n_rows, N_LISTS * 3 * 2 * (TOP_K + 1)], gpu()),
        ],
        {
            "is_first": is_first,
            "top_k": TOP_K,
            "n_lists": N_LISTS,
            "n_vocab": int(logits.shape[2]),
            **_STATE,
            **_RULES,
        },
    )
    return found.tensor


def advance_beams(
    beams: Sequence[BufferValue], tokens: TensorValue, rules: TensorValue, *, is_first: bool
) -> None:
    """Lets the best continuations of a window's beams go on.

    Args:
        beams: Slots, states, sums of log-probabilities and back pointers, which are updated.
        tokens: As `top_k` gives them.
        rules: [N_RULES].
        is_first: True after a prompt.
    """
    parameters: Parameters = {
        "is_first": is_first,
        "top_k": TOP_K,
        "back_pointer_fields": " ".join(BACK_POINTER_FIELDS),
        **_STATE,
        **_RULES,
    }
    ops.inplace_custom("whisper_gpu_advance_beams", gpu(), [*beams, tokens, rules], [], parameters)


def no_speech_prob(logits: TensorValue, rules: TensorValue, n_rows: Dim) -> TensorValue:
    """Logits [1, n_lines, n_vocab], a line for each window in their first half -> [n_rows]."""
    return one_tensor("whisper_gpu_no_speech_prob", [logits, rules], [n_rows], parameters=_RULES)
