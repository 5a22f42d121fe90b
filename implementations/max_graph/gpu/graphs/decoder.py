"""The text decoder as graphs for a GPU: cross-attention's keys and values, decoding, alignment.

One graph serves prefill, single steps, beams and batches of windows: the numbers of rows and of new
tokens are free. It neither samples nor searches.
"""

from collections.abc import Sequence
from typing import Any

from max.dtype import DType
from max.graph import (
    BufferType,
    BufferValue,
    DeviceRef,
    Graph,
    KernelLibrary,
    Module,
    TensorType,
    TensorValue,
    Value,
)

from implementations.max_graph.gpu.graphs.alignment_ops import store_cross_attention_scores
from implementations.max_graph.gpu.graphs.attention import CrossKV, SelfKV
from implementations.max_graph.gpu.graphs.blocks import CrossAttentionBlock
from implementations.max_graph.gpu.graphs.choice_ops import embed_last_tokens
from implementations.max_graph.gpu.graphs.layers import LayerNorm, Linear, weight
from implementations.max_graph.gpu.graphs.ops import (
    Epilogue,
    embed_tokens,
    gather_rows,
    matmul,
)
from weights.dims import ModelDimensions


class TextDecoder:
    """Tokens and audio features to logits; names as in whisper/model.py."""

    def __init__(self, dims: ModelDimensions, dtype: DType, device: DeviceRef) -> None:
        self.dims, self.dtype, self.device = dims, dtype, device
        n_state, n_head = dims.n_text_state, dims.n_text_head
        self.head_dim = n_state // n_head
        self.blocks = [
            CrossAttentionBlock(f"decoder.blocks.{i}", n_state, n_head, dtype)
            for i in range(dims.n_text_layer)
        ]
        self.ln = LayerNorm("decoder.ln", n_state)
        n_kv = dims.n_text_layer * 2 * n_state
        self.cross_kv = Linear("decoder.cross_kv", dims.n_audio_state, n_kv, dtype)

    def add_graphs(self, module: Module, kernels: KernelLibrary) -> None:
        """Adds `cross_kv`, `decoder` and `alignment` to a module."""
        self._add_cross_kv(module, kernels)
        self._add_decoder(module, kernels, with_scores=False)
        self._add_decoder(module, kernels, with_scores=True)

    def embeddings(self) -> tuple[TensorValue, TensorValue]:
        """Returns embeddings of tokens [n_vocab, n_state], used by logits too, and of positions."""
        dims = self.dims
        shape = (dims.n_vocab, dims.n_text_state)
        tokens = weight("decoder.token_embedding.weight", shape, self.dtype)
        positions = (dims.n_text_ctx, dims.n_text_state)
        return tokens, weight("decoder.positional_embedding", positions)

    def __call__(
        self, x: TensorValue, past: SelfKV, audio: CrossKV
    ) -> tuple[TensorValue, list[TensorValue]]:
        """[n_rows, n_new, n_state] -> the same shape, and cross-attention's queries by layer."""
        queries = []
        for layer, block in enumerate(self.blocks):
            x, query = block.step(x, past, audio, layer)
            queries.append(query)
        return x, queries

    def step(self, states: BufferValue, inputs: Sequence[Value[Any]]) -> TensorValue:
        """Each row's latest token, by its state -> logits [1, n_rows, n_vocab].

        `inputs` are slots, windows, cache and audio.
        """
        embedding, positional = self.embeddings()
        x, offsets = embed_last_tokens(states, embedding, positional)
        past = SelfKV(inputs[2].buffer, offsets, inputs[0].buffer)
        audio = CrossKV(inputs[3].tensor, inputs[1].tensor)
        x, _ = self(x, past, audio)
        return self.logits(x.reshape((1, x.shape[0], x.shape[2])), embedding)

    def logits(self, x: TensorValue, embedding: TensorValue) -> TensorValue:
        """[n_batch, n_ctx, n_state] -> [n_batch, n_ctx, n_vocab]."""
        no_bias = weight("decoder.no_bias", (self.dims.n_vocab,))
        return matmul(x, embedding, no_bias, self.ln.parameters(), Epilogue())

    def _add_cross_kv(self, module: Module, kernels: KernelLibrary) -> None:
        """[n_windows, n_audio_ctx, n_audio_state] -> keys and values of all layers."""
        shape: list[str | int] = ["n_windows", self.dims.n_audio_ctx, self.dims.n_audio_state]
        types = [TensorType(DType.float32, shape, self.device)]
        with Graph("cross_kv", input_types=types, module=module, kernel_library=kernels) as graph:
            graph.output(self.cross_kv(graph.inputs[0].tensor))

    def _add_decoder(self, module: Module, kernels: KernelLibrary, *, with_scores: bool) -> None:
        """Adds the token graph; with scores it also fills a buffer with those of chosen heads."""
        types = [*self.input_types(), *(self.score_types() if with_scores else ())]
        with Graph(
            "alignment" if with_scores else "decoder",
            input_types=types,
            module=module,
            kernel_library=kernels,
        ) as graph:
            logits, queries = self.feed(graph.inputs)
            if with_scores:
                self.store_scores(graph.inputs, queries)
            graph.output(logits)

    def feed(
        self, inputs: Sequence[Value[Any]], *, shared_splits: int = 1
    ) -> tuple[TensorValue, list[TensorValue]]:
        """Returns logits of the rows [1, n_chosen, n_vocab], and each layer's queries.

        `inputs` are as `input_types` gives them; `shared_splits` is that of `CrossKV`.
        """
        tokens, offsets, windows, rows = (inputs[i].tensor for i in (0, 1, 3, 4))
        past = SelfKV(inputs[5].buffer, offsets, inputs[2].buffer)
        audio = CrossKV(inputs[6].tensor, windows, shared_splits)
        embedding, positional = self.embeddings()
        x, queries = self(embed_tokens(tokens, offsets, embedding, positional), past, audio)
        return self.logits(gather_rows(x, rows), embedding), queries

    def store_scores(self, inputs: Sequence[Value[Any]], queries: Sequence[TensorValue]) -> None:
        """Fills the scores of chosen heads; `inputs` end with what `score_types` gives."""
        scores, heads = inputs[7].buffer, inputs[8].tensor
        audio = inputs[6].tensor, inputs[3].tensor
        for layer, query in enumerate(queries):
            store_cross_attention_scores(scores, query, audio, heads, layer, self.head_dim)

    def input_types(self) -> list[TensorType | BufferType]:
        """Returns types of tokens, offsets, slots, windows, rows of logits, cache, audio."""
        dims = self.dims
        width = 2 * dims.n_text_state
        return [
            TensorType(DType.int32, ["n_rows", "n_new"], self.device),
            TensorType(DType.int32, ["n_rows"], self.device),
            BufferType(DType.int32, ["n_rows", dims.n_text_ctx], self.device),
            TensorType(DType.int32, ["n_rows"], self.device),
            TensorType(DType.int32, ["n_chosen"], self.device),
            BufferType(
                self.dtype, [dims.n_text_layer, "n_slots", dims.n_text_ctx, width], self.device
            ),
            TensorType(
                self.dtype, ["n_windows", dims.n_audio_ctx, dims.n_text_layer * width], self.device
            ),
        ]

    def logits_type(self) -> TensorType:
        """Returns the type of logits of any number of rows."""
        return TensorType(DType.float32, [1, "n_chosen", self.dims.n_vocab], self.device)

    def step_types(self) -> list[TensorType | BufferType]:
        """Returns types of slots, windows, cache, audio."""
        types = self.input_types()
        return [*types[2:4], *types[5:]]

    def score_types(self) -> list[TensorType | BufferType]:
        """Returns types of scores to fill, and of their layers and heads, [n_scores, 2]."""
        return [
            BufferType(
                DType.float32, ["n_rows", "n_scores", "n_new", self.dims.n_audio_ctx], self.device
            ),
            TensorType(DType.int32, ["n_scores", 2], self.device),
        ]
