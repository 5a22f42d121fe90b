"""Decoder steps as graphs: one token for each hypothesis, and greedy decoding by the block.

Unlike `decoder`, which takes a prompt of any length layer by layer, these run all layers in one
operation: a step is short, and handing work to threads layer by layer would take most of it.
"""

from collections.abc import Sequence
from typing import Any

from max.dtype import DType
from max.graph import BufferType, BufferValue, Graph, KernelLibrary, Module, TensorType, Value

from implementations.max_graph.decoder import TextDecoder
from implementations.max_graph.kernel_ops import CPU
from implementations.max_graph.layers import weight
from implementations.max_graph.layouts import n_panels
from implementations.max_graph.step_ops import (
    N_RULES,
    N_STATE_FIELDS,
    StepInputs,
    greedy,
    note_block,
    step,
    table_type,
)

N_BLOCK = 16
"""Tokens that one run of `greedy` gives at most: few enough to be interrupted between runs."""


class DecoderSteps:
    """The decoder's blocks, in one operation."""

    def __init__(self, decoder: TextDecoder) -> None:
        self.decoder = decoder
        self.dims = decoder.dims

    def add_graphs(self, module: Module, kernels: KernelLibrary) -> None:
        """Put `step` and `greedy` into a module."""
        self._add_step(module, kernels)
        self._add_greedy(module, kernels)

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

    def _add_greedy(self, module: Module, kernels: KernelLibrary) -> None:
        """State, sum of log-probabilities, rules and mask -> tokens [N_BLOCK]."""
        types = [
            BufferType(DType.int32, [N_STATE_FIELDS], CPU),
            BufferType(DType.float32, [1], CPU),
            TensorType(DType.int32, [N_RULES], CPU),
            TensorType(DType.uint8, [self.dims.n_vocab], CPU),
            *self._state_types(),
        ]
        with Graph("greedy", input_types=types, module=module, kernel_library=kernels) as graph:
            state, sum_logprob = graph.inputs[0].buffer, graph.inputs[1].buffer
            rules = [graph.inputs[i].tensor for i in (2, 3)]
            inputs = self._inputs(graph.inputs[4].buffer, graph.inputs[5:])
            graph.output(greedy(inputs, state, sum_logprob, rules, N_BLOCK))

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
            audio_type=DType.float32,
        )
