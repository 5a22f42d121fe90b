"""The decoder's graphs over text: a prompt, one token for each hypothesis, greedy decoding.

Each runs all layers in one operation: a step is short, and handing work to threads layer by layer
would take most of its time.
"""

from collections.abc import Sequence
from typing import Any

from max.dtype import DType
from max.graph import BufferType, BufferValue, Graph, KernelLibrary, Module, TensorType, Value

from implementations.max_graph.cpu.graphs.alignment_ops import (
    alignment_matrix,
    dtw,
    prefill_probs,
)
from implementations.max_graph.cpu.graphs.decoder import TextDecoder
from implementations.max_graph.cpu.graphs.layers import weight
from implementations.max_graph.cpu.graphs.layouts import n_panels
from implementations.max_graph.cpu.graphs.ops import (
    CPU,
    StepInputs,
    bind_block,
    decode_step,
    greedy,
    prefill,
    sample,
    table_type,
    top_k,
)
from implementations.max_graph.cpu.graphs.row_ops import N_ROW_ADDRESSES, decode_rows
from implementations.max_graph.graphs.aligned_text import N_TEXT_FIELDS
from implementations.max_graph.graphs.token_state import N_RULES, N_STATE_FIELDS

N_BLOCK = 16
"""Tokens that one run of `greedy` gives at most: few enough to be interrupted between runs."""


class DecoderSteps:
    """The decoder's blocks, in one operation."""

    def __init__(self, decoder: TextDecoder) -> None:
        self.decoder = decoder
        self.dims = decoder.dims

    def add_graphs(self, module: Module, kernels: KernelLibrary) -> None:
        """Adds a graph for each of prompts, texts to align, steps, beams, samples and greedy."""
        self._add_prefill(module, kernels)
        self._add_align_text(module, kernels)
        self._add_decode_step(module, kernels)
        self._add_top_k(module, kernels)
        self._add_sample(module, kernels)
        self._add_greedy(module, kernels)
        self._add_decode_rows(module, kernels)

    def _add_prefill(self, module: Module, kernels: KernelLibrary) -> None:
        """Scores to fill, tokens [n_new], rows and heads -> logits [n_rows, n_vocab].

        Rows are those whose logits are wanted. Scores are cross-attention's before softmax,
        [n_scores, n_new, n_audio_ctx], of the given (layer, head) pairs [n_scores, 2].
        """
        shapes: list[list[str | int]] = [["n_new"], ["n_rows"], ["n_scores", 2]]
        scores: list[str | int] = ["n_scores", "n_new", self.dims.n_audio_ctx]
        types = [
            BufferType(DType.float32, scores, CPU),
            *(TensorType(DType.int32, shape, CPU) for shape in shapes),
            *self._state_types(),
        ]
        with Graph("prefill", input_types=types, module=module, kernel_library=kernels) as graph:
            requested = [graph.inputs[i].tensor for i in range(1, 4)]
            inputs = self._inputs(graph.inputs[4].buffer, graph.inputs[5:])
            graph.output(prefill(inputs, graph.inputs[0].buffer, requested))

    def _add_align_text(self, module: Module, kernels: KernelLibrary) -> None:
        """Workspace, tokens [n_new], text [n_text], heads, fields -> positions, probabilities.

        Positions are those at which <|notimestamps|> and the text's tokens begin, [n_text + 1];
        probabilities are the text's, [n_text].
        """
        shapes: list[list[str | int]] = [["n_new"], ["n_text"], ["n_scores", 2], [N_TEXT_FIELDS]]
        scores: list[str | int] = ["n_scores", "n_new", self.dims.n_audio_ctx]
        types = [
            BufferType(DType.float32, scores, CPU),
            *(TensorType(DType.int32, shape, CPU) for shape in shapes),
            *self._state_types(),
        ]
        with Graph("align_text", input_types=types, module=module, kernel_library=kernels) as graph:
            workspace = graph.inputs[0].buffer
            requested = [graph.inputs[i].tensor for i in range(1, 5)]
            inputs = self._inputs(graph.inputs[5].buffer, graph.inputs[6:])
            probabilities = prefill_probs(inputs, workspace, requested)
            matrix = alignment_matrix(workspace, requested[3], requested[1])
            graph.output(dtw(matrix, requested[3]), probabilities)

    def _add_decode_step(self, module: Module, kernels: KernelLibrary) -> None:
        """Tokens [n_group], offset [1], slots, source slots -> logits [n_group, n_vocab]."""
        types = [*self._step_types(), *self._state_types()]
        with Graph(
            "decode_step", input_types=types, module=module, kernel_library=kernels
        ) as graph:
            tokens, offset, *slots = (graph.inputs[i].tensor for i in range(4))
            inputs = self._inputs(graph.inputs[4].buffer, graph.inputs[5:])
            graph.output(decode_step(inputs, tokens, offset, slots))

    def _add_top_k(self, module: Module, kernels: KernelLibrary) -> None:
        """States, rules, mask, slots, source slots -> [n_group, 2, n_group + 1].

        These are the most likely next tokens of each hypothesis, then their log-probabilities.
        """
        types = [
            TensorType(DType.int32, ["n_group", N_STATE_FIELDS], CPU),
            *self._rule_types(),
            TensorType(DType.int32, self._slots_shape(), CPU),
            TensorType(DType.int32, ["n_group"], CPU),
            *self._state_types(),
        ]
        with Graph("top_k", input_types=types, module=module, kernel_library=kernels) as graph:
            state, *others = (graph.inputs[i].tensor for i in range(5))
            inputs = self._inputs(graph.inputs[5].buffer, graph.inputs[6:])
            graph.output(top_k(inputs, state, others[:2], others[2:]))

    def _add_sample(self, module: Module, kernels: KernelLibrary) -> None:
        """Inputs of `decode_step`, states, rules, mask, draws, temperature -> [n_group, 2].

        These are a token drawn for each hypothesis, and its log-probability.
        """
        types = [
            *self._step_types(),
            TensorType(DType.int32, ["n_group", N_STATE_FIELDS], CPU),
            *self._rule_types(),
            TensorType(DType.float64, ["n_group"], CPU),
            TensorType(DType.float32, [1], CPU),
            *self._state_types(),
        ]
        with Graph("sample", input_types=types, module=module, kernel_library=kernels) as graph:
            tokens, offset, *slots = (graph.inputs[i].tensor for i in range(4))
            state, *rules, draws, temperature = (graph.inputs[i].tensor for i in range(4, 9))
            inputs = self._inputs(graph.inputs[9].buffer, graph.inputs[10:])
            logits = decode_step(inputs, tokens, offset, slots)
            graph.output(sample(logits, state, rules, draws, temperature))

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

    def _add_decode_rows(self, module: Module, kernels: KernelLibrary) -> None:
        """Choice to fill [n_rows, 2, k_max], and what `decode_rows` takes of each row.

        The caches, keys and values of the other inputs are any row's: all are found by addresses.
        """
        integers: list[list[str | int]] = [
            ["n_rows", N_STATE_FIELDS],
            ["n_rows", N_RULES],
            ["n_rows"],
        ]
        n_addresses = self.dims.n_text_layer * N_ROW_ADDRESSES + 1
        types = [
            BufferType(DType.float32, ["n_rows", 2, "k_max"], CPU),
            *(TensorType(DType.int32, shape, CPU) for shape in integers),
            TensorType(DType.float32, ["n_rows"], CPU),
            TensorType(DType.float64, ["n_rows"], CPU),
            TensorType(DType.int64, ["n_rows", n_addresses], CPU),
            TensorType(DType.int32, ["n_groups"], CPU),
            TensorType(DType.int32, ["n_rows", n_panels(self.dims.n_text_ctx)], CPU),
            TensorType(DType.int32, ["n_rows"], CPU),
            *self._state_types(),
        ]
        with Graph(
            "decode_rows", input_types=types, module=module, kernel_library=kernels
        ) as graph:
            rows = [graph.inputs[i].tensor for i in range(1, 10)]
            inputs = self._inputs(graph.inputs[10].buffer, graph.inputs[11:])
            decode_rows(inputs, graph.inputs[0].buffer, rows)
            graph.output()

    def _step_types(self) -> list[TensorType]:
        """Returns the types of tokens, offset, slots and source slots of a step."""
        shapes: list[list[str | int]] = [["n_group"], [1], self._slots_shape(), ["n_group"]]
        return [TensorType(DType.int32, shape, CPU) for shape in shapes]

    def _slots_shape(self) -> list[str | int]:
        """Returns the shape of the slots of each hypothesis's panels of positions."""
        return ["n_group", n_panels(self.dims.n_text_ctx)]

    def _rule_types(self) -> list[TensorType]:
        """Returns the types of the rules as numbers, and of the mask of tokens."""
        return [
            TensorType(DType.int32, [N_RULES], CPU),
            TensorType(DType.uint8, [self.dims.n_vocab], CPU),
        ]

    def _state_types(self) -> list[TensorType | BufferType]:
        """Returns the types of the table, the caches, and cross-attention's keys and values."""
        return [
            table_type(self.dims.n_text_layer),
            *self.decoder.cache_types(),
            *self.decoder.cross_kv_types(),
        ]

    def _inputs(self, table: BufferValue, values: Sequence[Value[Any]]) -> StepInputs:
        """Binds every block to the table.

        Args:
            table: Table of addresses.
            values: All layers' caches, then their cross-attention's keys and values.
        """
        decoder, n_layer = self.decoder, self.dims.n_text_layer
        caches, cross_kv = values[: 2 * n_layer], values[2 * n_layer :]
        for i, block in enumerate(decoder.blocks):
            pair = slice(2 * i, 2 * i + 2)
            cache = [value.buffer for value in caches[pair]]
            kv = [value.tensor for value in cross_kv[pair]]
            bind_block(table, i, cache, [*block.operands(), *kv])
        shape = (self.dims.n_text_ctx, self.dims.n_text_state)
        return StepInputs(
            table=table,
            embedding=decoder.embedding(),
            positional=weight("decoder.positional_embedding", shape),
            ln=decoder.ln.operands(),
            n_head=decoder.n_head,
            n_audio_ctx=self.dims.n_audio_ctx,
            n_vocab=self.dims.n_vocab,
            cross_kv_dtype=decoder.cross_kv_dtype,
            layer_dtype=decoder.layer_dtype,
        )
