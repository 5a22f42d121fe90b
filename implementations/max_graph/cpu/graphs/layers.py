"""The leaves of the model, named as in torch: linear, convolution, layer norm.

A layer owns its weights' names and shapes; cpu/weights.py packs the arrays into those shapes.
"""

import math

from max.dtype import DType
from max.graph import Graph, TensorValue, Weight

from implementations.max_graph.cpu.graphs.layouts import (
    PANEL,
    n_panels,
    scales_shape,
    weight_shape,
)
from implementations.max_graph.cpu.graphs.ops import CPU, NO_SCALES, Matrix, layer_norm


def weight(name: str, shape: tuple[int, ...], dtype: DType = DType.float32) -> TensorValue:
    """Adds a weight to the graph being built; it is filled in when the model is loaded."""
    return Graph.current.add_weight(Weight(name, dtype, shape, CPU))


def matrix(name: str, n_out: int, n_in: int, dtype: DType) -> Matrix:
    """Adds the matrix `name.weight`, with `name.scales` where it is of integers."""
    shape = weight_shape(n_out, n_in, in_pairs=dtype == DType.bfloat16)
    panels = weight(f"{name}.weight", shape, dtype)
    if dtype.is_integral():
        return Matrix(panels, weight(f"{name}.scales", (math.prod(scales_shape(n_out, n_in)),)))
    return Matrix(panels, Graph.current.add_weight(NO_SCALES))


def two_byte_matrix(name: str, n_out: int, n_in: int) -> Matrix:
    """Adds the matrix `name.weight` of 16-bit integers: high bytes before low ones, and scales."""
    n_both = 2 * n_panels(n_out)
    panels = weight(f"{name}.weight", (n_both, n_in, PANEL), DType.int8)
    return Matrix(panels, weight(f"{name}.scales", (n_both * PANEL,)))


class Linear:
    """A dense layer with bias."""

    def __init__(self, name: str, n_in: int, n_out: int, dtype: DType) -> None:
        self.name, self.n_in, self.n_out, self.dtype = name, n_in, n_out, dtype

    def operands(self) -> list[TensorValue]:
        """Returns panels, scales and bias."""
        packed = matrix(self.name, self.n_out, self.n_in, self.dtype)
        return [packed.panels, packed.scales, weight(f"{self.name}.bias", (self.n_out,))]


class Conv1d(Linear):
    """A convolution with kernel size 3: a dense layer over three neighbouring frames."""

    def __init__(self, name: str, n_in: int, n_out: int, dtype: DType) -> None:
        super().__init__(name, 3 * n_in, n_out, dtype)


class LayerNorm:
    """Layer norm over the state."""

    def __init__(self, name: str, n_state: int) -> None:
        self.name, self.n_state = name, n_state

    def __call__(self, x: TensorValue) -> TensorValue:
        """[n_batch, n_ctx, n_state] -> [n_batch, n_ctx, n_state]."""
        scale, bias = self.operands()
        return layer_norm(x, scale, bias)

    def operands(self) -> list[TensorValue]:
        """Returns weight and bias."""
        return [weight(f"{self.name}.{part}", (self.n_state,)) for part in ("weight", "bias")]
