"""The custom operations of `gpu/kernels/`, as functions on graph values.

Shapes are given and checked here; what an operation computes is written beside its Mojo source.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from max.dtype import DType
from max.graph import BufferValue, DeviceRef, Dim, ShapeLike, TensorType, TensorValue, ops

from weights.dims import HOP_LENGTH, N_FFT

KERNELS = Path(__file__).parents[1] / "kernels"
GPU = DeviceRef.GPU()
"""What the graphs are built for; the process that compiles sets its number."""
N_PARTS = 32
"""Parts of the vocabulary that are looked through side by side; as in kernels/choose.mojo."""
MOST = 8
"""Likeliest tokens that are found for each beam; as in kernels/likeliest.mojo."""
N_NOTES = 3
"""What is noted of a beam in a step: its token, the beam that it continues, what ended there."""
N_LISTS = 256
"""Lists that they come from; as in kernels/likeliest.mojo."""
PART = 128
"""Values of a row that a warp reads at once; as in kernels/rows.mojo."""
MAX_SPLITS = 16
"""Parts into which the keys of one query are split at most; as in kernels/attention.mojo."""


def patches(x: TensorValue, dtype: DType, *, stride: int, channels_first: bool) -> TensorValue:
    """[n_batch, n_frames, n_in] -> [n_batch, n_frames / stride, 3 * n_in], zero beyond the ends.

    With channels first, x is [n_batch, n_in, n_frames].
    """
    n_batch, n_frames, n_in = x.shape
    if channels_first:
        n_frames, n_in = n_in, n_frames
    shape: list[Dim | int] = [n_batch, n_frames // stride, n_in * 3]
    return _tensor(
        "whisper_gpu_patches", [x], shape, dtype, stride=stride, channels_first=channels_first
    )


@dataclass(frozen=True, slots=True)
class Finish:
    """What is done to a product with a matrix before it is kept."""

    gelu: bool = False
    residual: TensorValue | None = None
    """Added last; one with fewer rows is repeated."""
    dtype: DType = DType.float32
    """What comes out; always float32 with a float32 matrix."""


def linear(
    x: TensorValue,
    weight: TensorValue,
    bias: TensorValue,
    norm: tuple[TensorValue, TensorValue] | None,
    finish: Finish,
) -> TensorValue:
    """[n_batch, n_ctx, n_in] -> [n_batch, n_ctx, n_out], layer norm before, sums in float32.

    With a matrix in half precision what is multiplied is rounded so too, but for a few rows.
    """
    residual = bias if finish.residual is None else finish.residual
    values = [x, weight, bias, residual, *(norm or (bias, bias))]
    parameters: dict[str, bool | int | str | DType] = {
        "has_norm": norm is not None,
        "has_gelu": finish.gelu,
        "has_residual": finish.residual is not None,
    }
    shape = [x.shape[0], x.shape[1], weight.shape[0]]
    types = [TensorType(finish.dtype, shape, GPU)]
    if weight.dtype == DType.float32:
        (result,) = ops.custom("whisper_gpu_linear", GPU, values, types, parameters)
        return result.tensor
    room = x.shape if x.dtype == DType.float32 else [1, 1, 1]
    types.append(TensorType(weight.dtype, room, GPU))
    parameters["n_parts"] = -(-int(x.shape[2]) // PART)
    result, _ = ops.custom("whisper_gpu_half_linear", GPU, values, types, parameters)
    return result.tensor


def log_mel(
    samples: TensorValue, filters: TensorValue, window: TensorValue, waves: TensorValue
) -> TensorValue:
    """[n_samples], [n_mels, 201] -> log10 of band power, [n_frames, n_mels]."""
    n_frames = (samples.shape[0] - N_FFT) // HOP_LENGTH + 1
    values = [samples, filters, window, waves]
    return _tensor("whisper_gpu_log_mel", values, [n_frames, filters.shape[0]])


def turn(mel: TensorValue, dtype: DType) -> TensorValue:
    """[n_batch, n_mels, n_frames] -> [n_batch, n_frames, n_mels]."""
    return _tensor("whisper_gpu_turn", [mel], [mel.shape[0], mel.shape[2], mel.shape[1]], dtype)


def layer_norm(x: TensorValue, weight: TensorValue, bias: TensorValue) -> TensorValue:
    """[n_batch, n_ctx, n_state] -> the same shape."""
    return _tensor("whisper_gpu_layer_norm", [x, weight, bias], x.shape)


def embed_tokens(
    tokens: TensorValue, offsets: TensorValue, embedding: TensorValue, positional: TensorValue
) -> TensorValue:
    """[n_rows, n_new] tokens, row i from position offsets[i] on -> [n_rows, n_new, n_state]."""
    return _tensor(
        "whisper_gpu_embed_tokens",
        [tokens, offsets, embedding, positional],
        [tokens.shape[0], tokens.shape[1], positional.shape[1]],
    )


def select_rows(x: TensorValue, rows: TensorValue) -> TensorValue:
    """[n_rows, n_new, n_state], row numbers [n_selected] -> [1, n_selected, n_state]."""
    return _tensor("whisper_gpu_select_rows", [x, rows], [1, rows.shape[0], x.shape[2]])


def attention(qkv: TensorValue, n_channels: int) -> TensorValue:
    """[n_batch, n_ctx, 3 * n_state] -> [n_batch, n_ctx, n_state]; all see all."""
    shape: list[Dim | int] = [qkv.shape[0], qkv.shape[1], int(qkv.shape[2]) // 3]
    return _tensor("whisper_gpu_attention", [qkv], shape, qkv.dtype, channels=n_channels)


def cached_attention(
    qkv: TensorValue,
    cache: BufferValue,
    offsets: TensorValue,
    slots: BufferValue,
    layer: int,
    n_channels: int,
) -> TensorValue:
    """[n_rows, n_new, 3 * n_state] -> [n_rows, n_new, n_state], causal, appending to the cache.

    Row i keeps position p in slot slots[i, p] of the cache: new ones, from position offsets[i] on,
    and those before.
    """
    n_state = int(qkv.shape[2]) // 3
    (attended,) = ops.inplace_custom(
        "whisper_gpu_cached_attention",
        GPU,
        [cache, slots, qkv, offsets],
        [TensorType(qkv.dtype, [qkv.shape[0], qkv.shape[1], n_state], GPU)],
        {"channels": n_channels, "layer": layer},
    )
    return attended.tensor


def audio_attention(
    q: TensorValue, audio: TensorValue, windows: TensorValue, layer: int, n_channels: int
) -> TensorValue:
    """[n_rows, n_new, n_state] -> the same shape; row i attends to window windows[i] of audio."""
    n_parts = q.shape[0] * q.shape[1] * (int(q.shape[2]) // n_channels)
    attended, _ = ops.custom(
        "whisper_gpu_audio_attention",
        GPU,
        [q, audio, windows],
        [
            TensorType(q.dtype, q.shape, GPU),
            TensorType(DType.float32, [n_parts, MAX_SPLITS * (n_channels + 2)], GPU),
        ],
        {"channels": n_channels, "layer": layer},
    )
    return attended.tensor


def store_attention_scores(
    scores: BufferValue,
    q: TensorValue,
    audio: TensorValue,
    heads: TensorValue,
    layer: int,
    n_channels: int,
) -> None:
    """Fill scores [n_heads, n_new, n_audio_ctx] for those of heads [n_heads, 2] of `layer`."""
    ops.inplace_custom(
        "whisper_gpu_attention_scores",
        GPU,
        [scores, q, audio, heads],
        [],
        {"channels": n_channels, "layer": layer},
    )


def embed_last(
    states: BufferValue, embedding: TensorValue, positional: TensorValue
) -> tuple[TensorValue, TensorValue]:
    """What each row feeds next, [n_rows, 1, n_state], and its position, [n_rows]."""
    n_rows = states.shape[0]
    embedded, offsets = ops.inplace_custom(
        "whisper_gpu_embed_last",
        GPU,
        [states, embedding, positional],
        [
            TensorType(DType.float32, [n_rows, 1, positional.shape[1]], GPU),
            TensorType(DType.int32, [n_rows], GPU),
        ],
    )
    return embedded.tensor, offsets.tensor


def choose(
    found: Sequence[BufferValue],
    logits: TensorValue,
    how: Sequence[TensorValue],
    *,
    is_first: bool,
) -> None:
    """Choose each row's next token.

    `found` is states, history and sums of log-probabilities; `how` is rules, mask, random numbers
    and temperature.
    """
    ops.inplace_custom(
        "whisper_gpu_choose",
        GPU,
        [*found, logits, *how],
        [TensorType(DType.uint32, [found[0].shape[0], N_PARTS * 6], GPU)],
        {"is_first": is_first},
    )


def likeliest(
    states: BufferValue,
    logits: TensorValue,
    rules: TensorValue,
    mask: TensorValue,
    *,
    is_first: bool,
) -> TensorValue:
    """Token and log-probability of each row's likeliest next tokens, [n_rows, MOST, 2].

    Highest first; what the rules forbid comes last, with minus infinity.
    """
    n_rows = states.shape[0]
    found, _ = ops.inplace_custom(
        "whisper_gpu_likeliest",
        GPU,
        [states, logits, rules, mask],
        [
            TensorType(DType.float32, [n_rows, MOST, 2], GPU),
            TensorType(DType.uint32, [n_rows, N_LISTS * 3 * 2 * (MOST + 1)], GPU),
        ],
        {"is_first": is_first},
    )
    return found.tensor


def extend(
    beams: Sequence[BufferValue], tokens: TensorValue, rules: TensorValue, *, is_first: bool
) -> None:
    """Let the best continuations of a window's beams go on.

    `beams` is slots, states, sums of log-probabilities and notes, `tokens` what `likeliest` gave.
    """
    ops.inplace_custom(
        "whisper_gpu_extend", GPU, [*beams, tokens, rules], [], {"is_first": is_first}
    )


def no_speech_probability(logits: TensorValue, rules: TensorValue, n_rows: Dim) -> TensorValue:
    """Of the first half of logits [1, n_lines, n_vocab], a line for each window: [n_rows]."""
    return _tensor("whisper_gpu_no_speech_probability", [logits, rules], [n_rows])


def _tensor(
    name: str,
    values: list[TensorValue],
    shape: ShapeLike,
    dtype: DType = DType.float32,
    **parameters: bool | int,
) -> TensorValue:
    """An operation with one tensor as its result."""
    (result,) = ops.custom(name, GPU, values, [TensorType(dtype, shape, GPU)], parameters or None)
    return result.tensor
