"""A step of beam search as a graph: one more token for each beam, then the likeliest next ones.

It takes everything from buffers, so that a recorded one can be run again and again. Which beams go
on is for the host to say.
"""

from max.dtype import DType
from max.graph import BufferType, Graph, KernelLibrary, Module, TensorType

from implementations.max_graph.gpu.decoder import TextDecoder
from implementations.max_graph.gpu.kernel_ops import GPU, likeliest
from implementations.max_graph.rule_inputs import N_RULES, N_STATE_FIELDS


class BeamStep:
    """The decoder with the likeliest tokens under the rules."""

    def __init__(self, decoder: TextDecoder) -> None:
        self.decoder = decoder

    def add_graph(self, module: Module, kernels: KernelLibrary) -> None:
        """Put `beam_step` into a module: slots, windows, cache, audio, states, rules, mask."""
        types = [
            *self.decoder.step_types(),
            BufferType(DType.int32, ["n_rows", N_STATE_FIELDS], GPU),
            TensorType(DType.int32, [N_RULES], GPU),
            TensorType(DType.uint8, [self.decoder.dims.n_vocab], GPU),
        ]
        with Graph("beam_step", input_types=types, module=module, kernel_library=kernels) as graph:
            states = graph.inputs[4].buffer
            rules, mask = graph.inputs[5].tensor, graph.inputs[6].tensor
            logits = self.decoder.step(states, graph.inputs[:4])
            graph.output(likeliest(states, logits, rules, mask))
