"""Greedy decoding and sampling whose loop stays on the device, as two graphs: first token and step.

A step takes everything from buffers and leaves everything there, so that a recorded one can be run
again and again without the host; the host reads the buffers when it likes.
"""

from max.dtype import DType
from max.graph import BufferType, Graph, KernelLibrary, Module, TensorType

from implementations.max_graph.gpu.graphs.decoder import TextDecoder
from implementations.max_graph.gpu.graphs.ops import GPU, choose, no_speech_probability
from implementations.max_graph.graphs.token_state import N_RULES, N_STATE_FIELDS


class DecodingLoop:
    """The decoder with the choice of a token for each row."""

    def __init__(self, decoder: TextDecoder) -> None:
        self.decoder = decoder

    def add_graphs(self, module: Module, kernels: KernelLibrary) -> None:
        """Put `loop_first` and `loop_step` into a module."""
        self._add_first(module, kernels)
        self._add_step(module, kernels)

    def _add_first(self, module: Module, kernels: KernelLibrary) -> None:
        """Logits after the prompts, chosen from -> probability of silence, [n_rows].

        They are those of each window's <|startoftranscript|>, then of each prompt's last token.
        """
        types = [self.decoder.logits_type(), *self._choice_types()]
        with Graph("loop_first", input_types=types, module=module, kernel_library=kernels) as graph:
            logits = graph.inputs[0].tensor
            found = [graph.inputs[i].buffer for i in range(1, 4)]
            how = [graph.inputs[i].tensor for i in range(4, 8)]
            choose(found, logits, how, is_first=True)
            graph.output(no_speech_probability(logits, how[0], found[0].shape[0]))

    def _add_step(self, module: Module, kernels: KernelLibrary) -> None:
        """One more token for each row; gives the logits, for finding errors."""
        types = [*self.decoder.step_types(), *self._choice_types()]
        with Graph("loop_step", input_types=types, module=module, kernel_library=kernels) as graph:
            found = [graph.inputs[i].buffer for i in range(4, 7)]
            how = [graph.inputs[i].tensor for i in range(7, 11)]
            logits = self.decoder.step(found[0], graph.inputs[:4])
            choose(found, logits, how, is_first=False)
            graph.output(logits)

    def _choice_types(self) -> list[TensorType | BufferType]:
        """States, history, sums of log-probabilities; rules, mask, random numbers, temperature."""
        n_text_ctx = self.decoder.dims.n_text_ctx
        return [
            BufferType(DType.int32, ["n_rows", N_STATE_FIELDS], GPU),
            BufferType(DType.int32, ["n_rows", n_text_ctx], GPU),
            BufferType(DType.float32, ["n_rows"], GPU),
            TensorType(DType.int32, [N_RULES], GPU),
            TensorType(DType.uint8, [self.decoder.dims.n_vocab], GPU),
            TensorType(DType.float32, ["n_rows", n_text_ctx], GPU),
            TensorType(DType.float32, [1], GPU),
        ]
