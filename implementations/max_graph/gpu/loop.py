"""Greedy decoding and sampling whose loop stays on the device, as two graphs: prompt and step.

A step takes everything from buffers and leaves everything there, so that a recorded one can be run
again and again without the host; the host reads the buffers when it likes.
"""

from max.dtype import DType
from max.graph import BufferType, Graph, KernelLibrary, Module, TensorType

from implementations.max_graph.gpu.attention import HeardAudio, TextPast
from implementations.max_graph.gpu.decoder import TextDecoder
from implementations.max_graph.gpu.kernel_ops import (
    GPU,
    choose,
    embed_tokens,
    no_speech_probability,
    select_rows,
)
from implementations.max_graph.rule_inputs import N_RULES, N_STATE_FIELDS


class DecodingLoop:
    """The decoder with the choice of tokens."""

    def __init__(self, decoder: TextDecoder) -> None:
        self.decoder = decoder

    def add_graphs(self, module: Module, kernels: KernelLibrary) -> None:
        """Put `loop_begin` and `loop_step` into a module."""
        self._add_begin(module, kernels)
        self._add_step(module, kernels)

    def _add_begin(self, module: Module, kernels: KernelLibrary) -> None:
        """Prompts [n_rows, n_new] -> probability of silence [n_rows]; chooses first tokens.

        The rows asked for are first those of <|startoftranscript|>, then the prompts' last.
        """
        types = [*self.decoder.input_types(), *self._loop_types()]
        with Graph("loop_begin", input_types=types, module=module, kernel_library=kernels) as graph:
            tokens, offsets, slots, windows, rows = (graph.inputs[i].tensor for i in range(5))
            past = TextPast(graph.inputs[5].buffer, offsets, slots)
            audio = HeardAudio(graph.inputs[6].tensor, windows)
            found = [graph.inputs[i].buffer for i in range(7, 10)]
            how = [graph.inputs[i].tensor for i in range(10, 14)]
            embedding, positional = self.decoder.embeddings()
            x = embed_tokens(tokens, offsets, embedding, positional)
            x, _ = self.decoder(x, past, audio)
            logits = self.decoder.logits(select_rows(x, rows), embedding)
            choose(found, logits, how, is_first=True)
            graph.output(no_speech_probability(logits, how[0], tokens.shape[0]))

    def _add_step(self, module: Module, kernels: KernelLibrary) -> None:
        """One more token for each row; gives the logits, for finding errors."""
        types = [*self.decoder.step_types(), *self._loop_types()]
        with Graph("loop_step", input_types=types, module=module, kernel_library=kernels) as graph:
            found = [graph.inputs[i].buffer for i in range(4, 7)]
            how = [graph.inputs[i].tensor for i in range(7, 11)]
            logits = self.decoder.step(found[0], graph.inputs[:4])
            choose(found, logits, how, is_first=False)
            graph.output(logits)

    def _loop_types(self) -> list[TensorType | BufferType]:
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
