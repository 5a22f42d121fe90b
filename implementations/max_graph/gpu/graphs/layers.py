"""The leaves of the model on a GPU, named as in torch: linear, convolution, layer norm.

The state that runs through the blocks is float32. Matrices are [n_out, n_in] in the graph's dtype,
as are activations between two matmuls of a layer; layer norm is part of the matmul after it.
"""

from max.dtype import DType
from max.graph import Graph, TensorValue, Weight

from implementations.max_graph.gpu.graphs.ops import (
    Epilogue,
    gpu,
    im2col,
    layer_norm,
    matmul,
)


def weight(name: str, shape: tuple[int, ...], dtype: DType = DType.float32) -> TensorValue:
    """Returns a weight of the graph being built, which is filled when the model is loaded."""
    return Graph.current.add_weight(Weight(name, dtype, shape, gpu()))


class LayerNorm:
    """Layer norm over the state."""

    def __init__(self, name: str, n_state: int) -> None:
        self.name, self.n_state = name, n_state

    def parameters(self) -> tuple[TensorValue, TensorValue]:
        """Returns weight and bias, [n_state] each."""
        shape = (self.n_state,)
        return weight(f"{self.name}.weight", shape), weight(f"{self.name}.bias", shape)

    def __call__(self, x: TensorValue) -> TensorValue:
        """[n_batch, n_ctx, n_state] -> [n_batch, n_ctx, n_state]."""
        return layer_norm(x, *self.parameters())


class Linear:
    """A dense layer with bias."""

    def __init__(self, name: str, n_in: int, n_out: int, dtype: DType) -> None:
        self.name, self.n_in, self.n_out, self.dtype = name, n_in, n_out, dtype

    def parameters(self) -> tuple[TensorValue, TensorValue]:
        """Returns matrix [n_out, n_in] and bias [n_out]."""
        matrix = weight(f"{self.name}.weight", (self.n_out, self.n_in), self.dtype)
        return matrix, weight(f"{self.name}.bias", (self.n_out,))

    def __call__(
        self,
        x: TensorValue,
        norm: LayerNorm | None = None,
        residual: TensorValue | None = None,
        *,
        gelu: bool = False,
    ) -> TensorValue:
        """[n_batch, n_ctx, n_in] -> [n_batch, n_ctx, n_out], float32 where a residual is added."""
        norm_parameters = None if norm is None else norm.parameters()
        dtype = self.dtype if residual is None else DType.float32
        epilogue = Epilogue(gelu, residual, dtype)
        return matmul(x, *self.parameters(), norm_parameters, epilogue)


class Conv1d:
    """A convolution with kernel size 3, followed by GELU."""

    def __init__(self, name: str, n_in: int, n_out: int, dtype: DType) -> None:
        self.linear = Linear(name, 3 * n_in, n_out, dtype)

    def __call__(
        self,
        x: TensorValue,
        residual: TensorValue | None = None,
        *,
        stride: int,
        channels_first: bool = False,
    ) -> TensorValue:
        """[n_batch, n_frames, n_in] -> [n_batch, n_frames / stride, n_out]."""
        columns = im2col(x, DType.float32, stride=stride, channels_first=channels_first)
        return self.linear(columns, residual=residual, gelu=True)
