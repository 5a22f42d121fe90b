"""The leaves of the model on a GPU, named as in torch: linear, convolution, layer norm.

The state that runs through the blocks is float32. Matrices are [n_out, n_in] in the graph's dtype.
In half precision, products over whole windows are MAX's own, on tensor cores; all others are exact
sums in float32 by this project's kernels.
"""

from max.dtype import DType
from max.graph import Graph, TensorValue, Weight, ops

from implementations.max_graph.gpu.kernel_ops import GPU, linear, patches


def weight(name: str, shape: tuple[int, ...], dtype: DType = DType.float32) -> TensorValue:
    """A weight of the graph being built, filled in when the model is loaded."""
    return Graph.current.add_weight(Weight(name, dtype, shape, GPU))


class Linear:
    """A dense layer with bias."""

    def __init__(self, name: str, n_in: int, n_out: int, dtype: DType) -> None:
        self.name, self.n_in, self.n_out, self.dtype = name, n_in, n_out, dtype

    def matrix(self) -> TensorValue:
        """[n_out, n_in]."""
        return weight(f"{self.name}.weight", (self.n_out, self.n_in), self.dtype)

    def bias(self) -> TensorValue:
        """[n_out]."""
        return weight(f"{self.name}.bias", (self.n_out,))

    def __call__(
        self, x: TensorValue, residual: TensorValue | None = None, *, gelu: bool = False
    ) -> TensorValue:
        """[n_batch, n_ctx, n_in] -> [n_batch, n_ctx, n_out], float32."""
        if self.dtype == DType.float32:
            return linear(x, self.matrix(), self.bias(), residual, gelu=gelu)
        y = (x.cast(self.dtype) @ ops.transpose(self.matrix(), 0, 1)).cast(DType.float32)
        y = y + self.bias()
        if gelu:
            y = ops.gelu(y)
        return y if residual is None else residual + y


class Conv1d:
    """A convolution with kernel size 3, followed by GELU."""

    def __init__(self, name: str, n_in: int, n_out: int, dtype: DType) -> None:
        self.product = Linear(name, 3 * n_in, n_out, dtype)

    def __call__(
        self,
        x: TensorValue,
        residual: TensorValue | None = None,
        *,
        stride: int,
        channels_first: bool = False,
    ) -> TensorValue:
        """[n_batch, n_frames, n_in] -> [n_batch, n_frames / stride, n_out]."""
        columns = patches(x, self.product.dtype, stride=stride, channels_first=channels_first)
        return self.product(columns, residual, gelu=True)


class LayerNorm:
    """Layer norm over the state."""

    def __init__(self, name: str, n_state: int) -> None:
        self.name, self.n_state = name, n_state

    def parameters(self) -> tuple[TensorValue, TensorValue]:
        """Weight and bias, [n_state] each."""
        shape = (self.n_state,)
        return weight(f"{self.name}.weight", shape), weight(f"{self.name}.bias", shape)

    def __call__(self, x: TensorValue) -> TensorValue:
        """[n_batch, n_ctx, n_state] -> [n_batch, n_ctx, n_state]."""
        return ops.layer_norm(x, *self.parameters(), 1e-5)
