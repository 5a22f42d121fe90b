"""How weights, keys and values lie in memory: shapes that graphs, caches and kernels share.

A panel holds PANEL columns side by side, so that a kernel meets that many at each step; the last
panel is padded. This knows sizes only; it imports no MAX.
Sizes are integers, or a graph's symbolic dimensions.
"""

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from max.graph import Dim

Size = TypeVar("Size", int, "Dim")

PANEL = 32
"""Columns of a panel; the same number as in kernels/tile.mojo."""

N_WAVE_COLUMNS = 208
"""Columns of the tables of waves: 201, rounded up to whole vectors on every CPU."""

AMX_STEP = 32
"""How much of a product's depth AMX takes at a time; zeros fill up the last of it."""


def n_panels(n_columns: Size) -> Size:
    """How many panels hold that many columns."""
    return (n_columns + (PANEL - 1)) // PANEL


def weight_shape(n_out: int, n_in: int, *, in_pairs: bool = False) -> tuple[int, int, int]:
    """[n_out, n_in] as panels of output columns; in pairs of inputs for AMX, in whole steps."""
    return n_panels(n_out), -(-n_in // AMX_STEP) * AMX_STEP if in_pairs else n_in, PANEL


def key_shape(n_head: Size, n_ctx: Size, n_channels: Size) -> tuple[Size, Size, Size, int]:
    """Keys of one batch entry: panels of positions, [n_head, n_panels, n_channels, PANEL]."""
    return n_head, n_panels(n_ctx), n_channels, PANEL


def value_shape(n_head: Size, n_ctx: Size, n_channels: Size) -> tuple[Size, Size, Size]:
    """Values of one batch entry, [n_head, n_ctx, n_channels rounded up to whole panels]."""
    return n_head, n_ctx, n_panels(n_channels) * PANEL
