"""The text decoder: its layers, its caches, and the graph of a window's cross-attention inputs.

The graphs over text are in steps.py. Nothing here samples or chooses tokens.
"""

from max.dtype import DType
from max.graph import BufferType, Graph, KernelLibrary, Module, TensorType

from implementations.max_graph.cpu.graphs.blocks import CrossAttentionBlock
from implementations.max_graph.cpu.graphs.layers import LayerNorm, matrix, two_byte_matrix
from implementations.max_graph.cpu.graphs.layouts import key_shape, value_shape
from implementations.max_graph.cpu.graphs.ops import CPU, Matrix, kv_dtype, kv_types
from implementations.max_graph.request import TWO_BYTES, MatrixTypes
from weights.dims import ModelDimensions


class TextDecoder:
    """Tokens and audio features to logits; names as in whisper/model.py."""

    def __init__(self, dims: ModelDimensions, matrices: MatrixTypes) -> None:
        self.dims = dims
        self.layer_dtype, audio_dtype = DType[matrices.decoder], DType[matrices.encoder]
        self.cross_kv_dtype = kv_dtype(audio_dtype)
        self.embedding_dtype = matrices.embedding
        n_state, n_head = dims.n_text_state, dims.n_text_head
        self.n_head, self.head_dim = n_head, n_state // n_head
        self.blocks = [
            CrossAttentionBlock(
                f"decoder.blocks.{i}", n_state, n_head, self.layer_dtype, audio_dtype
            )
            for i in range(dims.n_text_layer)
        ]
        self.ln = LayerNorm("decoder.ln", n_state)

    def add_graphs(self, module: Module, kernels: KernelLibrary) -> None:
        """Adds the graph `cross_kv`, which runs once per window, to a module.

        [1, n_audio_ctx, n_audio_state] -> cross-attention's keys, values of each layer in turn.
        """
        shape = [1, self.dims.n_audio_ctx, self.dims.n_audio_state]
        types = [TensorType(DType.float32, shape, CPU)]
        with Graph("cross_kv", input_types=types, module=module, kernel_library=kernels) as graph:
            features = graph.inputs[0].tensor
            layers = [block.cross_attn.compute_kv(features) for block in self.blocks]
            graph.output(*(tensor for layer in layers for tensor in layer))

    def embedding(self) -> Matrix:
        """Adds the token embedding, which is also the matrix of the logits, to a graph."""
        sizes = (self.dims.n_vocab, self.dims.n_text_state)
        if self.embedding_dtype == TWO_BYTES:
            return two_byte_matrix("decoder.token_embedding", *sizes)
        return matrix("decoder.token_embedding", *sizes, DType[self.embedding_dtype])

    def cache_types(self) -> list[BufferType]:
        """Returns the types of each layer's key and value caches, of n_slots hypotheses."""
        sizes = (self.n_head, self.dims.n_text_ctx, self.head_dim)
        return [
            BufferType(DType.float32, ["n_slots", *shape], CPU)
            for _ in range(self.dims.n_text_layer)
            for shape in (key_shape(*sizes), value_shape(*sizes))
        ]

    def cross_kv_types(self) -> list[TensorType]:
        """Returns the types of cross-attention's keys and values of one window, by layer."""
        sizes = (self.n_head, self.dims.n_audio_ctx, self.head_dim)
        types = kv_types(1, sizes, self.cross_kv_dtype)
        return [type_ for _ in range(self.dims.n_text_layer) for type_ in types]
