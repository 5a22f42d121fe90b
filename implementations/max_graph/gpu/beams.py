"""A step of beam search as a graph: one more token for each beam, then the likeliest next ones.

It takes everything from buffers, so that a recorded one can be run again and again. Which beams go
on is for the host to say.
"""

from max.dtype import DType
from max.graph import BufferType, Graph, KernelLibrary, Module, TensorType

from implementations.max_graph.gpu.attention import HeardAudio, TextPast
from implementations.max_graph.gpu.decoder import TextDecoder
from implementations.max_graph.gpu.kernel_ops import GPU, embed_last, likeliest
from implementations.max_graph.rule_inputs import N_RULES, N_STATE_FIELDS


class BeamStep:
    """The decoder with the likeliest tokens under the rules."""

    def __init__(self, decoder: TextDecoder) -> None:
        self.decoder = decoder

    def add_graph(self, module: Module, kernels: KernelLibrary) -> None:
        """Put `beam_step` into a module: slots, windows, cache, audio, states, rules, mask."""
        decoder_types = self.decoder.input_types()
        types = [
            *decoder_types[2:4],
            *decoder_types[5:],
            BufferType(DType.int32, ["n_rows", N_STATE_FIELDS], GPU),
            TensorType(DType.int32, [N_RULES], GPU),
            TensorType(DType.uint8, [self.decoder.dims.n_vocab], GPU),
        ]
        with Graph("beam_step", input_types=types, module=module, kernel_library=kernels) as graph:
            slots, windows = graph.inputs[0].tensor, graph.inputs[1].tensor
            states = graph.inputs[4].buffer
            rules, mask = graph.inputs[5].tensor, graph.inputs[6].tensor
            embedding, positional = self.decoder.embeddings()
            x, offsets = embed_last(states, embedding, positional)
            past = TextPast(graph.inputs[2].buffer, offsets, slots)
            audio = HeardAudio(graph.inputs[3].tensor, windows)
            x, _ = self.decoder(x, past, audio)
            logits = self.decoder.logits(x.reshape((1, x.shape[0], x.shape[2])), embedding)
            graph.output(likeliest(states, logits, rules, mask))
