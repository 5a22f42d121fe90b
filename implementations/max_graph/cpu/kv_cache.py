"""The keys and values that a decoder session keeps: buffers on the device, written in place."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from max.driver import CPU, Buffer
from max.dtype import DType

from implementations.max_graph.cpu.graphs.layouts import PANEL, key_shape, n_panels, value_shape
from weights.dims import ModelDimensions


class KVCache:
    """Self-attention's past for n_group hypotheses, in panels of positions that they share.

    Each hypothesis has a table of the slots in which its panels lie, so that reordering moves
    numbers and no keys or values. Only the panel that is being filled must be a hypothesis's own:
    `settle` finds those a place, and the next step copies what they had.
    Memory is touched as positions are filled, not when it is set aside.
    """

    def __init__(self, dims: ModelDimensions, n_group: int) -> None:
        n_head, n_channels = dims.n_text_head, dims.n_text_state // dims.n_text_head
        sizes = (n_head, dims.n_text_ctx, n_channels)
        self.n_group = n_group
        self.n_filled = 0
        self.slots = np.zeros((n_group, n_panels(dims.n_text_ctx)), np.int32)
        """The prompt is in slot 0."""
        self.buffers = [
            Buffer(DType.float32, (n_group, *shape), CPU())
            for _ in range(dims.n_text_layer)
            for shape in (key_shape(*sizes), value_shape(*sizes))
        ]

    def reorder(self, source_indices: Sequence[int]) -> None:
        """Let hypothesis i continue from what hypothesis source_indices[i] holds."""
        self.slots = self.slots[list(source_indices)]

    def settle(self) -> npt.NDArray[np.int32]:
        """Give each hypothesis a panel of its own for its next position.

        Returns:
            The slots in which what it holds of that panel lies so far, [n_group].
        """
        own = self.slots[:, self.n_filled // PANEL]
        if self.n_filled % PANEL == 0:
            own[:] = np.arange(self.n_group)
            return own.copy()
        held = own.copy()
        free = sorted(set(range(self.n_group)) - set(held.tolist()))
        taken: set[int] = set()
        for row, slot in enumerate(held.tolist()):
            own[row] = free.pop() if slot in taken else slot
            taken.add(slot)
        return held

    def advance(self, n_new: int) -> None:
        """Note that a run filled n_new more positions."""
        self.n_filled += n_new
