"""The decoder's graphs over a text: a prompt, one token for each hypothesis, greedy decoding.

Each runs all layers in one operation: a step is short, and handing work to threads layer by layer
would take most of it.
"""

from collections.abc import Sequence
from typing import Any

from max.dtype import DType
from max.graph import BufferType, BufferValue, Graph, KernelLibrary, Module, TensorType, Value

from implementations.max_graph.cpu.graphs.decoder import TextDecoder
from implementations.max_graph.cpu.graphs.layers import weight
from implementations.max_graph.cpu.graphs.layouts import n_panels
from implementations.max_graph.cpu.graphs.ops import CPU
from implementations.max_graph.cpu.graphs.step_ops import (
    StepInputs,
    greedy,
    likeliest,
    note_block,
    prompt,
    step,
    table_type,
)
from implementations.max_graph.graphs.token_state import N_RULES, N_STATE_FIELDS

N_BLOCK = 16
"""Tokens that one run of `greedy` gives at most: few enough to be interrupted between runs."""


class DecoderSteps:
    """The decoder's blocks, in one operation."""

    def __init__(self, decoder: TextDecoder) -> None:
        self.decoder = decoder
        self.dims = decoder.dims

    def add_graphs(self, module: Module, kernels: KernelLibrary) -> None:
        """Put `decoder`, `step`, `likeliest` and `greedy` into a module."""
        self._add_prompt(module, kernels)
        self._add_step(module, kernels)
        self._add_likeliest(module, kernels)
        self._add_greedy(module, kernels)

    def _add_prompt(self, module: Module, kernels: KernelLibrary) -> None:
        """Scores to fill, tokens [n_new], rows and heads wanted -> logits [n_rows, n_vocab].

        Scores are cross-attention's before softmax, [n_scores, n_new, n_audio_ctx], and heads are
        (layer, head) pairs [n_scores, 2].
        """
        shapes: list[list[str | int]] = [["n_new"], ["n_rows"], ["n_scores", 2]]
        scores: list[str | int] = ["n_scores", "n_new", self.dims.n_audio_ctx]
        types = [
            BufferType(DType.float32, scores, CPU),
            *(TensorType(DType.int32, shape, CPU) for shape in shapes),
            *self._state_types(),
        ]
        with Graph("decoder", input_types=types, module=module, kernel_library=kernels) as graph:
            wanted = [graph.inputs[i].tensor for i in range(1, 4)]
            inputs = self._inputs(graph.inputs[4].buffer, graph.inputs[5:])
            graph.output(prompt(inputs, graph.inputs[0].buffer, wanted, self.dims.n_vocab))

    def _add_step(self, module: Module, kernels: KernelLibrary) -> None:
        """Tokens [n_group], offset [1], slots and origins -> logits [n_group, n_vocab]."""
        slots: list[str | int] = ["n_group", n_panels(self.dims.n_text_ctx)]
        shapes: list[list[str | int]] = [["n_group"], [1], slots, ["n_group"]]
        types = [
            *(TensorType(DType.int32, shape, CPU) for shape in shapes),
            *self._state_types(),
        ]
        with Graph("step", input_types=types, module=module, kernel_library=kernels) as graph:
            tokens, offset, *places = (graph.inputs[i].tensor for i in range(4))
            inputs = self._inputs(graph.inputs[4].buffer, graph.inputs[5:])
            graph.output(step(inputs, tokens, offset, places, self.dims.n_vocab))

    def _add_likeliest(self, module: Module, kernels: KernelLibrary) -> None:
        """States, rules, mask, slots, origins -> each row's likeliest tokens and what they are."""
        slots: list[str | int] = ["n_group", n_panels(self.dims.n_text_ctx)]
        types = [
            TensorType(DType.int32, ["n_group", N_STATE_FIELDS], CPU),
            *self._rule_types(),
            TensorType(DType.int32, slots, CPU),
            TensorType(DType.int32, ["n_group"], CPU),
            *self._state_types(),
        ]
        with Graph("likeliest", input_types=types, module=module, kernel_library=kernels) as graph:
            state, *given = (graph.inputs[i].tensor for i in range(5))
            inputs = self._inputs(graph.inputs[5].buffer, graph.inputs[6:])
            graph.output(likeliest(inputs, state, given[:2], given[2:]))

    def _add_greedy(self, module: Module, kernels: KernelLibrary) -> None:
        """State, sum of log-probabilities, rules and mask -> tokens [N_BLOCK]."""
        types = [
            BufferType(DType.int32, [N_STATE_FIELDS], CPU),
            BufferType(DType.float32, [1], CPU),
            *self._rule_types(),
            *self._state_types(),
        ]
        with Graph("greedy", input_types=types, module=module, kernel_library=kernels) as graph:
            state, sum_logprob = graph.inputs[0].buffer, graph.inputs[1].buffer
            rules = [graph.inputs[i].tensor for i in (2, 3)]
            inputs = self._inputs(graph.inputs[4].buffer, graph.inputs[5:])
            graph.output(greedy(inputs, state, sum_logprob, rules, N_BLOCK))

    def _rule_types(self) -> list[TensorType]:
        """The rules as numbers, and the mask of the tokens that never come."""
        return [
            TensorType(DType.int32, [N_RULES], CPU),
            TensorType(DType.uint8, [self.dims.n_vocab], CPU),
        ]

    def _state_types(self) -> list[TensorType | BufferType]:
        """The table, the caches, and the window's keys and values."""
        return [
            table_type(self.dims.n_text_layer),
            *self.decoder.cache_types(),
            *self.decoder.audio_types(),
        ]

    def _inputs(self, table: BufferValue, values: Sequence[Value[Any]]) -> StepInputs:
        """Note every block in the table; `values` are all layers' caches, then their audio."""
        decoder, n_layer = self.decoder, self.dims.n_text_layer
        cached, audio = values[: 2 * n_layer], values[2 * n_layer :]
        for i, block in enumerate(decoder.blocks):
            pair = slice(2 * i, 2 * i + 2)
            own = [value.buffer for value in cached[pair]]
            heard = [value.tensor for value in audio[pair]]
            note_block(table, i, own, [*block.parts(), *heard])
        shape = (self.dims.n_text_ctx, self.dims.n_text_state)
        return StepInputs(
            table=table,
            embedding=decoder.embedding(),
            positional=weight("decoder.positional_embedding", shape),
            ln=decoder.ln.parts(),
            n_head=decoder.n_head,
            n_audio_ctx=self.dims.n_audio_ctx,
            audio_type=decoder.audio_type,
            layer_type=decoder.layer_type,
        )
