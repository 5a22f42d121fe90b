"""The keys and values that a decoder session keeps: buffers on the device, written in place."""

from collections.abc import Sequence

from max.driver import CPU, Buffer
from max.dtype import DType

from implementations.max_graph.layouts import key_shape, value_shape
from weights.dims import ModelDimensions


class KVCache:
    """Self-attention's past for n_group hypotheses, and which of them each goes on from.

    Reordering is only noted here; the next step moves the rows that must move, as far as they are
    filled. Memory is touched as positions are filled, not when it is set aside.
    """

    def __init__(self, dims: ModelDimensions, n_group: int) -> None:
        n_head, n_channels = dims.n_text_head, dims.n_text_state // dims.n_text_head
        sizes = (n_head, dims.n_text_ctx, n_channels)
        self.n_group = n_group
        self.n_filled = 0
        self.sources = list(range(n_group))
        self.buffers = [
            Buffer(DType.float32, (n_group, *shape), CPU())
            for _ in range(dims.n_text_layer)
            for shape in (key_shape(*sizes), value_shape(*sizes))
        ]

    def reorder(self, source_indices: Sequence[int]) -> None:
        """Let hypothesis i continue from what hypothesis source_indices[i] holds."""
        self.sources = [self.sources[i] for i in source_indices]

    def advance(self, n_new: int, sources: Sequence[int]) -> None:
        """Note that a run filled n_new more positions, and where the next one finds them."""
        self.n_filled += n_new
        self.sources = list(sources)
