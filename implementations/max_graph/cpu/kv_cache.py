"""KV cache of a decoder session: buffers that the kernels write in place."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from max.driver import CPU, Buffer
from max.dtype import DType

from implementations.max_graph.cpu.graphs.layouts import PANEL, key_shape, n_panels, value_shape
from weights.dims import ModelDimensions


class KVCache:
    """Keys and values of n_group hypotheses, in panels of positions that they share.

    Each hypothesis has a row of slots in which its panels lie, so that reordering moves slot
    numbers and no keys or values. Only the tail panel, which is being filled, must be a
    hypothesis's own: `make_tail_panels_unique` assigns its slot, and the next step copies the
    panel (copy-on-write). Memory is touched as positions are filled, not when it is allocated.
    """

    def __init__(self, dims: ModelDimensions, n_group: int) -> None:
        n_head, head_dim = dims.n_text_head, dims.n_text_state // dims.n_text_head
        sizes = (n_head, dims.n_text_ctx, head_dim)
        self.n_group = n_group
        self.n_filled = 0
        self.slots = np.zeros((n_group, n_panels(dims.n_text_ctx)), np.int32)
        """Slot of each hypothesis's panels, [n_group, n_panels]; the prompt is in slot 0."""
        self.buffers = [
            Buffer(DType.float32, (n_group, *shape), CPU())
            for _ in range(dims.n_text_layer)
            for shape in (key_shape(*sizes), value_shape(*sizes))
        ]

    def reorder(self, source_indices: Sequence[int]) -> None:
        """Lets hypothesis i continue from the past of hypothesis source_indices[i]."""
        self.slots = self.slots[list(source_indices)]

    def make_tail_panels_unique(self) -> npt.NDArray[np.int32]:
        """Assigns each hypothesis a slot of its own for the panel of its next position.

        Returns:
            Source slots [n_group], in which the positions so far of these panels lie.
        """
        own = self.slots[:, self.n_filled // PANEL]
        if self.n_filled % PANEL == 0:
            own[:] = np.arange(self.n_group)
            return own.copy()
        source_slots = own.copy()
        free = sorted(set(range(self.n_group)) - set(source_slots.tolist()))
        taken: set[int] = set()
        for row, slot in enumerate(source_slots.tolist()):
            own[row] = free.pop() if slot in taken else slot
            taken.add(slot)
        return source_slots

    def advance(self, n_new: int) -> None:
        """Counts n_new positions that a run has filled."""
        self.n_filled += n_new
