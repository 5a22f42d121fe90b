"""Cases that tests of several GPU kernels have in common: heads of attention, layers with a matmul.

A test file takes the sizes from here, and keeps what its own kernel is shown.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from max.dtype import DType
from max.graph import TensorValue

from implementations.max_graph.gpu.graphs.ops import Epilogue, matmul
from tests.support import layers
from tests.support.gpu_ops import (
    BF16,
    F16,
    F32,
    Array,
    FloatArray,
    GpuOps,
    OneOp,
    assert_rows_close,
    normal,
    rounded,
    tensor,
)

MIN_ROW = 16
"""Shorter rows of a matmul are compared together: a single sum may come close to zero."""


class Heads(NamedTuple):
    """Heads of an attention."""

    dtype: DType
    n_head: int
    head_dim: int = 64
    """Width of a head; Whisper has 64 only."""

    @property
    def n_state(self) -> int:
        """Width of all heads."""
        return self.n_head * self.head_dim

    def __str__(self) -> str:
        return f"{self.dtype.name}_{self.n_head}_{self.head_dim}"


WHISPER_HEADS = [
    *(Heads(F16, n_head) for n_head in (6, 8, 12, 16, 20)),
    *(Heads(BF16, n_head) for n_head in (6, 20)),
    *(Heads(F32, n_head) for n_head in (6, 20)),
]
"""Heads of all of Whisper's sizes in float16, and of the smallest and the largest in others."""


def expected_attention(
    heads: Heads, q: Array, k: Array, v: Array, is_seen: Array | None = None
) -> Array:
    """[n_queries, n_state] and keys and values [n_keys, n_state] -> [n_queries, n_state]."""
    q, k, v = (layers.heads_of(x.astype(np.float64), heads.n_head) for x in (q, k, v))
    return layers.attention(q, k, v, is_seen)


class Layer(NamedTuple):
    """Steps around a matmul."""

    has_norm: bool
    """True if layer norm is before it."""
    has_gelu: bool
    """True if GELU is after it."""
    has_residual: bool
    """True if a residual is added last; x is then in the dtype of the matrix."""
    is_wide: bool = True
    """True if the result is float32, whatever the matrix is."""

    def graph(self, dtype: DType, n_in: int | str) -> OneOp:
        """Graph of the layer with a matrix of some dtype."""

        def build(
            x: TensorValue, w: TensorValue, bias: TensorValue, *more: TensorValue
        ) -> TensorValue:
            residual = more[0] if self.has_residual else None
            norm = (more[-2], more[-1]) if self.has_norm else None
            found_dtype = F32 if self.is_wide else dtype
            return matmul(x, w, bias, norm, Epilogue(self.has_gelu, residual, found_dtype))

        inputs = [
            tensor(dtype if self.has_residual else F32, "n_batch", "n_rows", n_in),
            tensor(dtype, "n_out", n_in),
            tensor(F32, "n_out"),
        ]
        if self.has_residual:
            inputs.append(tensor(F32, "n_residual", "n_residual_rows", "n_out"))
        if self.has_norm:
            inputs += [tensor(F32, n_in), tensor(F32, n_in)]
        return OneOp(tuple(inputs), build)

    def check(
        self,
        ops: GpuOps,
        name: str,
        dtype: DType,
        x: FloatArray,
        n_out: int,
        residual_shape: Sequence[int],
    ) -> None:
        """Compares the graph of a name with NumPy, which rounds what is given and nothing else.

        Args:
            ops: Graphs of the test file.
            name: Name of this layer's graph in it.
            dtype: Dtype of the matrix.
            x: `[n_batch, n_rows, n_in]`.
            n_out: Outputs of the matmul.
            residual_shape: Batch and rows of the residual, which is repeated if they are fewer.
        """
        n_in = x.shape[-1]
        w, bias = normal(n_out, n_in, scale=n_in**-0.5), normal(n_out)
        residual = normal(*residual_shape, n_out, seed=3)
        norm = normal(n_in, seed=1) + 1, normal(n_in, seed=2)
        given = [x, w, bias]
        given += [residual] if self.has_residual else []
        given += norm if self.has_norm else ()
        (found,) = ops.run(name, *given)
        precision = np.float64 if dtype == F32 else np.float32  # half precision: many rows
        x, w = rounded(x, dtype) if self.has_residual else x, rounded(w, dtype)
        expected: Array = layers.layer_norm(x, *norm) if self.has_norm else x
        expected = expected.astype(precision)
        expected = expected @ w.T.astype(precision) + bias
        expected = layers.gelu(expected) if self.has_gelu else expected
        expected = expected + residual if self.has_residual else expected
        if n_out < MIN_ROW:
            found, expected = found.reshape(1, -1), expected.reshape(1, -1)
        assert_rows_close(found, expected, dtype)
