"""Greedy decoding and sampling whose loop stays on the device, as two graphs: first token and step.

A step reads and writes buffers alone, so that a captured one can be replayed again and again; the
host reads the buffers when it likes.
"""

from max.dtype import DType
from max.graph import BufferType, Graph, KernelLibrary, Module, TensorType

from implementations.max_graph.gpu.graphs.choice_ops import no_speech_prob, sample
from implementations.max_graph.gpu.graphs.decoder import TextDecoder
from implementations.max_graph.graphs.token_state import N_RULES, N_STATE_FIELDS


class SamplingGraphs:
    """The decoder with the choice of each row's next token."""

    def __init__(self, decoder: TextDecoder) -> None:
        self.decoder = decoder

    def add_graphs(self, module: Module, kernels: KernelLibrary) -> None:
        """Adds `sample_first` and `sample_step` to a module."""
        self._add_first(module, kernels)
        self._add_step(module, kernels)

    def _add_first(self, module: Module, kernels: KernelLibrary) -> None:
        """Logits after the prompts, sampled -> probability of no speech, [n_rows].

        They are those of each window's <|startoftranscript|>, then of each prompt's last token.
        """
        types = [self.decoder.logits_type(), *self._choice_types()]
        with Graph(
            "sample_first", input_types=types, module=module, kernel_library=kernels
        ) as graph:
            logits = graph.inputs[0].tensor
            results = [graph.inputs[i].buffer for i in range(1, 4)]
            choice = [graph.inputs[i].tensor for i in range(4, 8)]
            sample(results, logits, choice, is_first=True)
            graph.output(no_speech_prob(logits, choice[0], results[0].shape[0]))

    def _add_step(self, module: Module, kernels: KernelLibrary) -> None:
        """Adds a token to each row -> the logits [1, n_rows, n_vocab]."""
        types = [*self.decoder.step_types(), *self._choice_types()]
        with Graph(
            "sample_step", input_types=types, module=module, kernel_library=kernels
        ) as graph:
            results = [graph.inputs[i].buffer for i in range(4, 7)]
            choice = [graph.inputs[i].tensor for i in range(7, 11)]
            logits = self.decoder.step(results[0], graph.inputs[:4])
            sample(results, logits, choice, is_first=False)
            graph.output(logits)

    def _choice_types(self) -> list[TensorType | BufferType]:
        """Returns types of the buffers that `SamplingDecoder.choice_inputs` gives."""
        n_text_ctx = self.decoder.dims.n_text_ctx
        return [
            BufferType(DType.int32, ["n_rows", N_STATE_FIELDS], self.decoder.device),
            BufferType(DType.int32, ["n_rows", n_text_ctx], self.decoder.device),
            BufferType(DType.float32, ["n_rows"], self.decoder.device),
            TensorType(DType.int32, [N_RULES], self.decoder.device),
            TensorType(DType.uint8, [self.decoder.dims.n_vocab], self.decoder.device),
            TensorType(DType.float32, ["n_rows", n_text_ctx], self.decoder.device),
            TensorType(DType.float32, [1], self.decoder.device),
        ]
