"""Beam search whose loop stays on the device, as two graphs: first tokens and step.

As in sampling.py all state is in buffers. A beam is continued by copying slot numbers, not keys and
values.
"""

from max.dtype import DType
from max.graph import BufferType, Graph, KernelLibrary, Module, TensorType

from implementations.max_graph.gpu.graphs.choice_ops import (
    N_BACK_POINTER_FIELDS,
    advance_beams,
    no_speech_prob,
    top_k,
)
from implementations.max_graph.gpu.graphs.decoder import TextDecoder
from implementations.max_graph.graphs.token_state import N_RULES, N_STATE_FIELDS


class BeamGraphs:
    """The decoder with beam search over its logits."""

    def __init__(self, decoder: TextDecoder) -> None:
        self.decoder = decoder

    def add_graphs(self, module: Module, kernels: KernelLibrary) -> None:
        """Adds `beam_first` and `beam_step` to a module."""
        self._add_first(module, kernels)
        self._add_step(module, kernels)

    def _add_first(self, module: Module, kernels: KernelLibrary) -> None:
        """Logits as `sample_first` takes them -> probability of no speech, [n_rows]."""
        slots = self.decoder.step_types()[0]
        types = [self.decoder.logits_type(), slots, *self._choice_types()]
        with Graph("beam_first", input_types=types, module=module, kernel_library=kernels) as graph:
            logits = graph.inputs[0].tensor
            beams = [graph.inputs[i].buffer for i in range(1, 5)]
            rules, mask = graph.inputs[5].tensor, graph.inputs[6].tensor
            found = top_k(beams[1], logits, rules, mask, is_first=True)
            advance_beams(beams, found, rules, is_first=True)
            graph.output(no_speech_prob(logits, rules, beams[1].shape[0]))

    def _add_step(self, module: Module, kernels: KernelLibrary) -> None:
        """Adds a token to each beam -> tokens it was chosen from, [n_rows, TOP_K, 2]."""
        types = [*self.decoder.step_types(), *self._choice_types()]
        with Graph("beam_step", input_types=types, module=module, kernel_library=kernels) as graph:
            beams = [graph.inputs[i].buffer for i in (0, 4, 5, 6)]
            rules, mask = graph.inputs[7].tensor, graph.inputs[8].tensor
            logits = self.decoder.step(beams[1], graph.inputs[:4])
            found = top_k(beams[1], logits, rules, mask, is_first=False)
            advance_beams(beams, found, rules, is_first=False)
            graph.output(found)

    def _choice_types(self) -> list[TensorType | BufferType]:
        """Returns types of states, sums of log-probabilities, back pointers; rules, mask.

        There may be fewer searches than windows of audio.
        """
        n_text_ctx = self.decoder.dims.n_text_ctx
        return [
            BufferType(DType.int32, ["n_rows", N_STATE_FIELDS], self.decoder.device),
            BufferType(DType.float32, ["n_rows"], self.decoder.device),
            BufferType(
                DType.int32,
                ["n_searches", n_text_ctx, "n_beams", N_BACK_POINTER_FIELDS],
                self.decoder.device,
            ),
            TensorType(DType.int32, [N_RULES], self.decoder.device),
            TensorType(DType.uint8, [self.decoder.dims.n_vocab], self.decoder.device),
        ]
