"""The text decoder as graphs: keys and values of the audio, decoding, and alignment.

Decoding starts with a prompt of any length, layer by layer; what follows it is in steps.py. Nothing
here samples or chooses tokens.
"""

from max.dtype import DType
from max.graph import BufferType, Graph, KernelLibrary, Module, TensorType

from implementations.max_graph.attention import AudioKeysValues, LayerCache
from implementations.max_graph.blocks import CrossAttentionBlock
from implementations.max_graph.kernel_ops import (
    CPU,
    Matrix,
    embed_tokens,
    project,
    select_rows,
    store_attention_scores,
)
from implementations.max_graph.layers import LayerNorm, matrix, weight
from implementations.max_graph.layouts import key_shape, value_shape
from weights.dims import ModelDimensions


class TextDecoder:
    """Tokens and audio features to logits; names as in whisper/model.py."""

    def __init__(self, dims: ModelDimensions, dtype: DType, audio_dtype: DType) -> None:
        self.dims, self.dtype = dims, dtype
        n_state, n_head = dims.n_text_state, dims.n_text_head
        self.n_head, self.n_channels = n_head, n_state // n_head
        self.blocks = [
            CrossAttentionBlock(f"decoder.blocks.{i}", n_state, n_head, dtype, audio_dtype)
            for i in range(dims.n_text_layer)
        ]
        self.ln = LayerNorm("decoder.ln", n_state)

    def add_graphs(self, module: Module, kernels: KernelLibrary) -> None:
        """Put `audio_keys_values`, `decoder` and `alignment` into a module."""
        self._add_audio_keys_values(module, kernels)
        self._add_decoder(module, kernels, with_scores=False)
        self._add_decoder(module, kernels, with_scores=True)

    def _add_audio_keys_values(self, module: Module, kernels: KernelLibrary) -> None:
        """[1, n_audio_ctx, n_audio_state] -> keys, values of each layer in turn."""
        shape = [1, self.dims.n_audio_ctx, self.dims.n_audio_state]
        types = [TensorType(DType.float32, shape, CPU)]
        with Graph(
            "audio_keys_values", input_types=types, module=module, kernel_library=kernels
        ) as graph:
            features = graph.inputs[0].tensor
            layers = [block.cross_attn.keys_values(features) for block in self.blocks]
            graph.output(*(part for layer in layers for part in (layer.keys, layer.values)))

    def _add_decoder(self, module: Module, kernels: KernelLibrary, *, with_scores: bool) -> None:
        """Token graph; with scores it also fills a buffer with chosen heads' cross-attention."""
        n_layer = self.dims.n_text_layer
        types: list[TensorType | BufferType] = [
            *self._token_types(),
            *self.cache_types(),
            *self.audio_types(),
            *(self._score_types() if with_scores else ()),
        ]
        with Graph(
            "alignment" if with_scores else "decoder",
            input_types=types,
            module=module,
            kernel_library=kernels,
        ) as graph:
            tokens, rows = (graph.inputs[i].tensor for i in range(2))
            cached, audio = graph.inputs[2 : 2 + 2 * n_layer], graph.inputs[2 + 2 * n_layer :]
            embedding = self.embedding()
            positional = weight(
                "decoder.positional_embedding", (self.dims.n_text_ctx, self.dims.n_text_state)
            )
            x = embed_tokens(tokens, embedding, positional)
            for i, block in enumerate(self.blocks):
                cache = LayerCache(cached[2 * i].buffer, cached[2 * i + 1].buffer)
                heard = AudioKeysValues(audio[2 * i].tensor, audio[2 * i + 1].tensor)
                x, query = block.step(x, cache, heard)
                if with_scores:
                    scores, heads = audio[-2].buffer, audio[-1].tensor
                    store_attention_scores(scores, query, heard.keys, heads, i)
            chosen = self.ln(select_rows(x, rows))
            graph.output(project(chosen, embedding, self.dims.n_vocab))

    def embedding(self) -> Matrix:
        """Token embedding, also the matrix of the logits."""
        sizes = (self.dims.n_vocab, self.dims.n_text_state)
        return matrix("decoder.token_embedding", *sizes, self.dtype)

    def _token_types(self) -> list[TensorType]:
        """Tokens, and the rows whose logits are wanted."""
        shapes: list[list[str | int]] = [[1, "n_new"], ["n_rows"]]
        return [TensorType(DType.int32, shape, CPU) for shape in shapes]

    def cache_types(self) -> list[BufferType]:
        """Keys and values of each layer, with room for n_slots hypotheses."""
        sizes = (self.n_head, self.dims.n_text_ctx, self.n_channels)
        return [
            BufferType(DType.float32, ["n_slots", *shape], CPU)
            for _ in range(self.dims.n_text_layer)
            for shape in (key_shape(*sizes), value_shape(*sizes))
        ]

    def audio_types(self) -> list[TensorType]:
        """Keys and values of one window for each layer."""
        sizes = (self.n_head, self.dims.n_audio_ctx, self.n_channels)
        return [
            TensorType(DType.float32, [1, *shape], CPU)
            for _ in range(self.dims.n_text_layer)
            for shape in (key_shape(*sizes), value_shape(*sizes))
        ]

    def _score_types(self) -> list[TensorType | BufferType]:
        """Scores to fill [n_scores, n_new, n_audio_ctx], and their (layer, head) pairs."""
        return [
            BufferType(DType.float32, ["n_scores", "n_new", self.dims.n_audio_ctx], CPU),
            TensorType(DType.int32, ["n_scores", 2], CPU),
        ]
