"""The leaves of the model, named as in torch: linear, convolution, layer norm.

A layer owns its weights' names and shapes; `parameters.py` brings the arrays into those shapes.
"""

from max.dtype import DType
from max.graph import Graph, TensorValue, Weight

from implementations.max_graph.cpu.graphs.layouts import PANEL, n_panels, weight_shape
from implementations.max_graph.cpu.graphs.ops import (
    CPU,
    NO_SCALES,
    Matrix,
    layer_norm,
)


def weight(name: str, shape: tuple[int, ...], dtype: DType = DType.float32) -> TensorValue:
    """A weight of the graph being built, filled in when the model is loaded."""
    return Graph.current.add_weight(Weight(name, dtype, shape, CPU))


def panelled_weight(name: str, n_out: int, n_in: int, dtype: DType) -> TensorValue:
    """[n_out, n_in] as panels [n_panels, n_in, PANEL]."""
    shape = weight_shape(n_out, n_in, in_pairs=dtype == DType.bfloat16)
    return weight(name, shape, dtype)


def matrix(name: str, n_out: int, n_in: int, dtype: DType) -> Matrix:
    """The matrix `name.weight`, with `name.scales` where it is of integers."""
    panels = panelled_weight(f"{name}.weight", n_out, n_in, dtype)
    if dtype.is_integral():
        return Matrix(panels, weight(f"{name}.scales", (n_panels(n_out) * PANEL,)))
    return Matrix(panels, Graph.current.add_weight(NO_SCALES))


def two_bytes_matrix(name: str, n_out: int, n_in: int) -> Matrix:
    """The matrix `name.weight` in integers of 16 bits: high bytes, then low ones, then scales."""
    n_both = 2 * n_panels(n_out)
    panels = weight(f"{name}.weight", (n_both, n_in, PANEL), DType.int8)
    return Matrix(panels, weight(f"{name}.scales", (n_both * PANEL,)))


class Linear:
    """A dense layer with bias."""

    def __init__(self, name: str, n_in: int, n_out: int, dtype: DType) -> None:
        self.name, self.n_in, self.n_out, self.dtype = name, n_in, n_out, dtype

    def parts(self) -> list[TensorValue]:
        """Panels, scales and bias."""
        factor, bias = self._weights()
        return [factor.panels, factor.scales, bias]

    def _weights(self) -> tuple[Matrix, TensorValue]:
        factor = matrix(self.name, self.n_out, self.n_in, self.dtype)
        return factor, weight(f"{self.name}.bias", (self.n_out,))


class Conv1d:
    """The weights of a convolution with kernel size 3."""

    def __init__(self, name: str, n_in: int, n_out: int, dtype: DType) -> None:
        self.name, self.n_in, self.n_out, self.dtype = name, n_in, n_out, dtype

    def parts(self) -> list[TensorValue]:
        """Panels, scales and bias."""
        factor = matrix(self.name, self.n_out, 3 * self.n_in, self.dtype)
        return [factor.panels, factor.scales, weight(f"{self.name}.bias", (self.n_out,))]


class LayerNorm:
    """Layer norm over the state."""

    def __init__(self, name: str, n_state: int) -> None:
        self.name, self.n_state = name, n_state

    def __call__(self, x: TensorValue) -> TensorValue:
        """[n_batch, n_ctx, n_state] -> [n_batch, n_ctx, n_state]."""
        scale, bias = self.parts()
        return layer_norm(x, scale, bias)

    def parts(self) -> list[TensorValue]:
        """Weight and bias."""
        return [weight(f"{self.name}.{part}", (self.n_state,)) for part in ("weight", "bias")]
