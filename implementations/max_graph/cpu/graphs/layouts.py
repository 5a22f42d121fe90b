"""Layouts of weights, keys and values in memory: shapes that graphs, caches and kernels share.

A panel holds PANEL columns side by side, so that a kernel multiplies that many at each step; the
last panel is padded. Sizes are integers, or symbolic dimensions of a graph; MAX is not imported.
"""

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from max.graph import Dim

Size = TypeVar("Size", int, "Dim")

PANEL = 32
"""Columns of a panel."""

GROUP = 32
"""Inputs of a row of int8 that share a scale."""

N_WAVE_COLUMNS = 208
"""Columns of the tables of waves: 201, rounded up to whole vectors on every CPU."""

AMX_STEP = 32
"""Depth of a matmul that AMX takes at a time; zeros fill up the last of it."""


def n_panels(n_columns: Size) -> Size:
    """Returns the number of panels that hold so many columns."""
    return (n_columns + (PANEL - 1)) // PANEL


def scales_shape(n_out: int, n_in: int) -> tuple[int, int, int]:
    """Returns the shape of the scales of a matrix [n_out, n_in] of int8, by panel and group."""
    return n_panels(n_out), -(-n_in // GROUP), PANEL


def weight_shape(n_out: int, n_in: int, *, in_pairs: bool = False) -> tuple[int, int, int]:
    """Returns the shape of a matrix [n_out, n_in] in panels of output columns.

    In bfloat16 inputs lie in pairs, in whole steps of AMX_STEP, whatever multiplies them.
    """
    return n_panels(n_out), -(-n_in // AMX_STEP) * AMX_STEP if in_pairs else n_in, PANEL


def key_shape(n_head: Size, n_ctx: Size, head_dim: Size) -> tuple[Size, Size, Size, int]:
    """Returns the shape of keys: panels of positions, [n_head, n_panels, head_dim, PANEL]."""
    return n_head, n_panels(n_ctx), head_dim, PANEL


def value_shape(n_head: Size, n_ctx: Size, head_dim: Size) -> tuple[Size, Size, Size]:
    """Returns the shape of values: [n_head, n_ctx, head_dim rounded up to whole panels]."""
    return n_head, n_ctx, n_panels(head_dim) * PANEL
