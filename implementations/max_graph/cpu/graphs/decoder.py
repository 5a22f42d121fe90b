"""The text decoder: its layers and what it keeps, and a window's keys and values as a graph.

The graphs that go over text are in steps.py. Nothing here samples or chooses tokens.
"""

from max.dtype import DType
from max.graph import BufferType, Graph, KernelLibrary, Module, TensorType

from implementations.max_graph.cpu.graphs.blocks import CrossAttentionBlock
from implementations.max_graph.cpu.graphs.encoder_ops import kept_type, keys_values_types
from implementations.max_graph.cpu.graphs.layers import LayerNorm, matrix, two_bytes_matrix
from implementations.max_graph.cpu.graphs.layouts import key_shape, value_shape
from implementations.max_graph.cpu.graphs.ops import CPU, Matrix
from implementations.max_graph.request import TWO_BYTES, MatrixTypes
from weights.dims import ModelDimensions


class TextDecoder:
    """Tokens and audio features to logits; names as in whisper/model.py."""

    def __init__(self, dims: ModelDimensions, matrices: MatrixTypes) -> None:
        self.dims = dims
        self.layer_type, audio_dtype = DType[matrices.decoder], DType[matrices.encoder]
        self.audio_type = kept_type(audio_dtype)
        self.embedding_type = matrices.embedding
        n_state, n_head = dims.n_text_state, dims.n_text_head
        self.n_head, self.n_channels = n_head, n_state // n_head
        self.blocks = [
            CrossAttentionBlock(
                f"decoder.blocks.{i}", n_state, n_head, self.layer_type, audio_dtype
            )
            for i in range(dims.n_text_layer)
        ]
        self.ln = LayerNorm("decoder.ln", n_state)

    def add_graphs(self, module: Module, kernels: KernelLibrary) -> None:
        """Put `audio_keys_values` into a module: what a window's features give each layer.

        [1, n_audio_ctx, n_audio_state] -> keys, values of each layer in turn.
        """
        shape = [1, self.dims.n_audio_ctx, self.dims.n_audio_state]
        types = [TensorType(DType.float32, shape, CPU)]
        with Graph(
            "audio_keys_values", input_types=types, module=module, kernel_library=kernels
        ) as graph:
            features = graph.inputs[0].tensor
            layers = [block.cross_attn.keys_values(features) for block in self.blocks]
            graph.output(*(part for layer in layers for part in layer))

    def embedding(self) -> Matrix:
        """Token embedding, also the matrix of the logits."""
        sizes = (self.dims.n_vocab, self.dims.n_text_state)
        if self.embedding_type == TWO_BYTES:
            return two_bytes_matrix("decoder.token_embedding", *sizes)
        return matrix("decoder.token_embedding", *sizes, DType[self.embedding_type])

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
        types = keys_values_types(1, sizes, self.audio_type)
        return [part for _ in range(self.dims.n_text_layer) for part in types]
