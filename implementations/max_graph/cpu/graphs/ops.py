"""The custom operations of `kernels/` as functions on graph values.

Operations over rows run one step of a layer for a block of rows at a time, while the block is in
the cache. Operations over decoder steps run all layers at once: the layers' weights reach them
through a table of addresses, which `bind_block` fills; the table must be filled and used within one
run of a graph. Shapes are given here; the computation is documented beside its Mojo source.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from max.dtype import DType
from max.graph import (
    BufferType,
    BufferValue,
    DeviceRef,
    Dim,
    Graph,
    TensorType,
    TensorValue,
    Value,
    Weight,
    ops,
)

from implementations.max_graph.cpu.graphs.layouts import (
    AMX_STEP,
    N_WAVE_COLUMNS,
    PANEL,
    key_shape,
    value_shape,
)
from implementations.max_graph.graphs.token_state import NEVER, RULE_FIELDS, STATE_FIELDS
from weights.dims import HOP_LENGTH, N_FFT

KERNELS = Path(__file__).parents[1] / "kernels"
CPU = DeviceRef.CPU()
N_THREADS = Weight("n_threads", DType.int32, (1,), CPU)
"""Threads that an operation may use, 0 for all: the runtime's own setting for it aborts."""
NO_SCALES = Weight("no_scales", DType.float32, (1,), CPU)
"""Placeholder for the scales of a matrix that has none."""
N_ADDRESSES = 28
"""Addresses of a block in the table: 24 weights, two caches, cross-attention's keys and values."""

Operands = list[TensorValue]
"""Panels, scales and bias of a dense layer or convolution; weight and bias of a layer norm."""
Parameters = dict[str, bool | int | str | DType]

LAYOUT: Parameters = {"panel": PANEL, "amx_step": AMX_STEP}
"""Sizes of packed arrays; the kernels assert that theirs are the same."""
TOKEN_STATE: Parameters = {
    "state_fields": " ".join(STATE_FIELDS),
    "rule_fields": " ".join(RULE_FIELDS),
    "never": NEVER,
}
"""Fields of states and rules, likewise."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A packed matrix [n_out, n_in] in the graph being built."""

    panels: TensorValue
    """[n_panels, n_in, PANEL]."""
    scales: TensorValue
    """Those of `scales_shape` in int8, one for each row in two bytes; otherwise not read."""


@dataclass(frozen=True, slots=True)
class StepInputs:
    """Operands and parameters that all operations over decoder steps share."""

    table: BufferValue
    embedding: Matrix
    positional: TensorValue
    ln: Sequence[TensorValue]
    """Weight and bias."""
    n_head: int
    n_audio_ctx: int
    n_vocab: int
    cross_kv_dtype: DType
    layer_dtype: DType

    def parameters(self) -> Parameters:
        """Returns what the operation is compiled for."""
        return LAYOUT | {
            "n_addresses": N_ADDRESSES,
            "n_head": self.n_head,
            "n_audio_ctx": self.n_audio_ctx,
            "n_vocab": self.n_vocab,
            "cross_kv_dtype": self.cross_kv_dtype,
            "layer_dtype": self.layer_dtype,
        }

    def operands(self) -> Operands:
        """Returns the operation's last operands."""
        embedding = self.embedding
        return [embedding.panels, embedding.scales, self.positional, *self.ln, n_threads()]


def n_threads() -> TensorValue:
    """The user's thread count, [1]."""
    return Graph.current.add_weight(N_THREADS)


def log_mel(
    samples: TensorValue,
    filters: TensorValue,
    window: TensorValue,
    cosines: TensorValue,
    sines: TensorValue,
) -> TensorValue:
    """[n_samples], [n_mels, 201] -> log10 of band power, [n_frames, n_mels]."""
    n_frames = (samples.shape[0] - N_FFT) // HOP_LENGTH + 1
    type_ = TensorType(DType.float32, [n_frames, filters.shape[0]], CPU)
    sizes: Parameters = {"n_fft": N_FFT, "hop_length": HOP_LENGTH, "n_wave_columns": N_WAVE_COLUMNS}
    operands = [samples, filters, window, cosines, sines, n_threads()]
    (frames,) = ops.custom("whisper_cpu_log_mel", CPU, operands, [type_], parameters=sizes)
    return frames.tensor


def layer_norm(x: TensorValue, weight: TensorValue, bias: TensorValue) -> TensorValue:
    """[n_batch, n_ctx, n_state] -> the same shape."""
    (y,) = ops.custom("whisper_cpu_layer_norm", CPU, [x, weight, bias, n_threads()], [x.type])
    return y.tensor


def conv_stem(
    mel: TensorValue, conv1: Operands, conv2: Operands, positional: TensorValue
) -> TensorValue:
    """[n_batch, n_mels, 2 * n_ctx] -> [n_batch, n_ctx, n_state], positions added."""
    n_ctx, n_state = positional.shape
    type_ = TensorType(DType.float32, [mel.shape[0], n_ctx, n_state], CPU)
    (x,) = _run("conv_stem", [mel, *conv1, *conv2, positional], type_)
    return x


def qkv_projection(
    x: TensorValue, norm: Operands, linear: Operands, n_head: Dim | int
) -> tuple[TensorValue, TensorValue, TensorValue]:
    """[n_batch, n_ctx, n_state] -> queries of the same shape, keys and values, after layer norm."""
    types = _kv_types_of(x, linear[0].dtype, x.shape[2], n_head)
    queries, keys, values = _run("qkv_projection", [x, *norm, *linear], x.type, *types)
    return queries, keys, values


def kv_projection(
    x: TensorValue, linear: Operands, n_head: Dim | int
) -> tuple[TensorValue, TensorValue]:
    """[n_batch, n_ctx, n_in] -> keys and values as attention reads them."""
    types = _kv_types_of(x, linear[0].dtype, linear[2].shape[0] // 2, n_head)
    keys, values = _run("kv_projection", [x, *linear], *types)
    return keys, values


def attention(
    qkv: tuple[TensorValue, TensorValue, TensorValue], x: TensorValue, linear: Operands
) -> TensorValue:
    """Attention of all queries to all keys, a dense layer, plus x: [n_batch, n_ctx, n_state]."""
    return _run("attention", [*qkv, x, *linear], x.type)[0]


def mlp(x: TensorValue, norm: Operands, fc1: Operands, fc2: Operands) -> TensorValue:
    """[n_batch, n_ctx, n_state] -> the same shape: layer norm, two dense layers, plus x."""
    (y,) = _run("mlp", [x, *norm, *fc1, *fc2], x.type)
    return y


def kv_dtype(dtype: DType) -> DType:
    """Returns the dtype of keys and values that are computed with a matrix of a dtype."""
    return DType.bfloat16 if dtype == DType.bfloat16 else DType.float32


def kv_types(
    n_batch: Dim | int, sizes: tuple[Dim | int, Dim | int, Dim | int], dtype: DType
) -> tuple[TensorType, TensorType]:
    """Returns the types of packed keys and values; sizes are n_head, n_ctx and head_dim."""
    n_head, n_ctx, head_dim = (Dim(size) for size in sizes)
    steps = (n_ctx + (AMX_STEP - 1)) // AMX_STEP
    n_values = n_ctx if dtype == DType.float32 else steps * AMX_STEP
    keys, values = key_shape(n_head, n_ctx, head_dim), value_shape(n_head, n_values, head_dim)
    return TensorType(dtype, [n_batch, *keys], CPU), TensorType(dtype, [n_batch, *values], CPU)


def table_type(n_layer: int) -> BufferType:
    """Returns the type of the table of addresses of all blocks."""
    return BufferType(DType.int64, [n_layer, N_ADDRESSES], CPU)


def bind_block(
    table: BufferValue, layer: int, cache: Sequence[BufferValue], operands: Sequence[TensorValue]
) -> None:
    """Writes the addresses of a block's weights, caches, and cross-attention's keys and values."""
    values: list[Value[Any]] = [table, *cache, *operands]
    parameters: Parameters = {"layer": layer, "n_addresses": N_ADDRESSES}
    ops.inplace_custom("whisper_cpu_bind_block", CPU, values, parameters=parameters)


def prefill(
    inputs: StepInputs, scores: BufferValue, requested: Sequence[TensorValue]
) -> TensorValue:
    """A prompt's tokens -> logits [n_rows, n_vocab]; its keys and values go to the first slot.

    Args:
        inputs: The decoder.
        scores: Filled with cross-attention scores before softmax, [n_scores, n_new, n_audio_ctx].
        requested: Tokens [n_new], rows whose logits are wanted [n_rows], and (layer, head) pairs
            whose scores are wanted [n_scores, 2].
    """
    type_ = TensorType(DType.float32, [requested[1].shape[0], inputs.n_vocab], CPU)
    return run_steps("prefill", inputs, [scores, *requested], type_, {})


def decode_step(
    inputs: StepInputs, tokens: TensorValue, offset: TensorValue, slots: Sequence[TensorValue]
) -> TensorValue:
    """[n_group] tokens at position offset[0] -> logits [n_group, n_vocab].

    `slots` are the slots and source slots of `KVCache`.
    """
    type_ = TensorType(DType.float32, [tokens.shape[0], inputs.n_vocab], CPU)
    return run_steps("decode_step", inputs, [tokens, offset, *slots], type_, {})


def top_k(
    inputs: StepInputs,
    state: TensorValue,
    rules: Sequence[TensorValue],
    slots: Sequence[TensorValue],
) -> TensorValue:
    """[n_group, N_STATE_FIELDS] -> [n_group, 2, n_group + 1]: tokens, log-probabilities."""
    n_group = state.shape[0]
    type_ = TensorType(DType.float32, [n_group, 2, n_group + 1], CPU)
    return run_steps("top_k", inputs, [state, *rules, *slots], type_, TOKEN_STATE)


def sample(
    logits: TensorValue,
    state: TensorValue,
    rules: Sequence[TensorValue],
    draws: TensorValue,
    temperature: TensorValue,
) -> TensorValue:
    """[n_group, n_vocab] -> [n_group, 2]: a token drawn under the rules, its log-probability.

    Args:
        logits: After the latest token of each hypothesis.
        state: [n_group, N_STATE_FIELDS].
        rules: Numbers and mask.
        draws: Random numbers from 0 to 1, [n_group], float64.
        temperature: [1], above 0.
    """
    type_ = TensorType(DType.float32, [logits.shape[0], 2], CPU)
    operands = [logits, state, *rules, draws, temperature, n_threads()]
    parameters = TOKEN_STATE | {"n_vocab": int(logits.shape[1])}
    (choice,) = ops.custom("whisper_cpu_sample", CPU, operands, [type_], parameters=parameters)
    return choice.tensor


def greedy(
    inputs: StepInputs,
    state: BufferValue,
    sum_logprob: BufferValue,
    rules: Sequence[TensorValue],
    n_tokens: int,
) -> TensorValue:
    """The most likely tokens, one after the other -> [n_tokens], fewer where the text ends."""
    type_ = TensorType(DType.int32, [n_tokens], CPU)
    operands: list[TensorValue | BufferValue] = [state, sum_logprob, *rules]
    return run_steps("greedy", inputs, operands, type_, TOKEN_STATE)


def _kv_types_of(
    x: TensorValue, dtype: DType, n_state: Dim, n_head: Dim | int
) -> tuple[TensorType, TensorType]:
    """Returns the types of keys and values of every row of x, from a matrix in dtype."""
    return kv_types(x.shape[0], (n_head, x.shape[1], n_state // n_head), kv_dtype(dtype))


def _run(name: str, operands: Operands, *types: TensorType) -> Operands:
    """Adds an operation over rows to the graph."""
    operands = [*operands, n_threads()]
    results = ops.custom(f"whisper_cpu_{name}", CPU, operands, list(types), parameters=LAYOUT)
    return [result.tensor for result in results]


def run_steps(
    name: str,
    inputs: StepInputs,
    operands: Sequence[TensorValue | BufferValue],
    type_: TensorType,
    parameters: Parameters,
) -> TensorValue:
    """Adds an operation over decoder steps to the graph."""
    values: list[Value[Any]] = [inputs.table, *operands, *inputs.operands()]
    parameters = inputs.parameters() | parameters
    (result,) = ops.inplace_custom(f"whisper_cpu_{name}", CPU, values, [type_], parameters)
    return result.tensor
