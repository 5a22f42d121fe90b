"""The custom operations of whole decoder steps, as functions on graph values.

A step is one operation over all blocks. Their weights reach it through a table of addresses, which
`note_block` fills; the table must be filled and used within one run of a graph.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from max.dtype import DType
from max.graph import BufferType, BufferValue, TensorType, TensorValue, Value, ops

from implementations.max_graph.cpu.graphs.ops import CPU, Matrix, n_threads

N_ADDRESSES = 28
"""Addresses that a block has in the table; as in kernels/steps.mojo."""


def table_type(n_layer: int) -> BufferType:
    """Room for the addresses of all blocks."""
    return BufferType(DType.int64, [n_layer, N_ADDRESSES], CPU)


@dataclass(frozen=True, slots=True)
class StepInputs:
    """What every operation over whole steps reads."""

    table: BufferValue
    embedding: Matrix
    positional: TensorValue
    ln: Sequence[TensorValue]
    """Weight and bias."""
    n_head: int
    n_audio_ctx: int
    audio_type: DType
    layer_type: DType

    def parameters(self) -> dict[str, bool | int | str | DType]:
        """What the operation is compiled for."""
        return {
            "n_head": self.n_head,
            "n_audio_ctx": self.n_audio_ctx,
            "audio_type": self.audio_type,
            "layer_type": self.layer_type,
        }

    def weights(self) -> list[TensorValue]:
        """The operation's last operands."""
        embedding = self.embedding
        return [embedding.panels, embedding.scales, self.positional, *self.ln, n_threads()]


def note_block(
    table: BufferValue, layer: int, cache: Sequence[BufferValue], values: Sequence[TensorValue]
) -> None:
    """Write where a block's weights, caches and audio lie."""
    operands: list[Value[Any]] = [table, *cache, *values]
    ops.inplace_custom("whisper_note_block", CPU, operands, parameters={"layer": layer})


def prompt(
    inputs: StepInputs, scores: BufferValue, wanted: Sequence[TensorValue], n_vocab: int
) -> TensorValue:
    """`wanted`: tokens [n_new], rows [n_rows], heads [n_scores, 2] -> logits [n_rows, n_vocab].

    The text begins the cache's first slot; scores [n_scores, n_new, n_audio_ctx] are filled.
    """
    (logits,) = ops.inplace_custom(
        "whisper_prompt",
        CPU,
        [inputs.table, scores, *wanted, *inputs.weights()],
        [TensorType(DType.float32, [wanted[1].shape[0], n_vocab], CPU)],
        inputs.parameters(),
    )
    return logits.tensor


def step(
    inputs: StepInputs,
    tokens: TensorValue,
    offset: TensorValue,
    places: Sequence[TensorValue],
    n_vocab: int,
) -> TensorValue:
    """[n_group] tokens at position offset[0] -> logits [n_group, n_vocab].

    `places` are the slots and origins of `KVCache`.
    """
    (logits,) = ops.inplace_custom(
        "whisper_step",
        CPU,
        [inputs.table, tokens, offset, *places, *inputs.weights()],
        [TensorType(DType.float32, [tokens.shape[0], n_vocab], CPU)],
        inputs.parameters(),
    )
    return logits.tensor


def likeliest(
    inputs: StepInputs,
    state: TensorValue,
    rules: Sequence[TensorValue],
    places: Sequence[TensorValue],
) -> TensorValue:
    """[n_group, N_STATE_FIELDS] -> [n_group, 2, n_group + 1]: tokens, log-probabilities."""
    n_group = state.shape[0]
    (choice,) = ops.inplace_custom(
        "whisper_likeliest",
        CPU,
        [inputs.table, state, *rules, *places, *inputs.weights()],
        [TensorType(DType.float32, [n_group, 2, n_group + 1], CPU)],
        inputs.parameters(),
    )
    return choice.tensor


def greedy(
    inputs: StepInputs,
    state: BufferValue,
    sum_logprob: BufferValue,
    rules: Sequence[TensorValue],
    n_tokens: int,
) -> TensorValue:
    """The likeliest tokens, one after the other -> [n_tokens], fewer where the text ends."""
    (sampled,) = ops.inplace_custom(
        "whisper_greedy",
        CPU,
        [inputs.table, state, sum_logprob, *rules, *inputs.weights()],
        [TensorType(DType.int32, [n_tokens], CPU)],
        inputs.parameters(),
    )
    return sampled.tensor
