"""The keys and values that a decoder session keeps: a tensor for each layer, written in place.

It computes nothing.
"""

from collections.abc import Sequence

import torch

from weights.dims import ModelDimensions

KeysValues = tuple[torch.Tensor, torch.Tensor]
"""Each [n_batch, n_text_head, n_ctx, n_channels]."""


class KVCache:
    """One layer's past for n_group hypotheses; the prompt goes in as that of the first alone.

    Memory is touched as positions are filled, not when it is set aside.
    """

    def __init__(
        self, dims: ModelDimensions, n_group: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        n_head, n_channels = dims.n_text_head, dims.n_text_state // dims.n_text_head
        shape = (2, n_group, n_head, dims.n_text_ctx, n_channels)
        self._states = torch.empty(shape, device=device, dtype=dtype)
        self.n_filled = 0

    def append(self, keys: torch.Tensor, values: torch.Tensor) -> KeysValues:
        """Put new positions of the first hypotheses, or of all, behind theirs; returns all."""
        n_rows, _, n_new, _ = keys.shape
        begin, self.n_filled = self.n_filled, self.n_filled + n_new
        kept = self._filled[:, :n_rows]
        kept[0, :, :, begin:] = keys
        kept[1, :, :, begin:] = values
        return kept[0], kept[1]

    def share(self) -> None:
        """Let all hypotheses go on from what the first one holds."""
        self._filled[:, 1:] = self._filled[:, :1]

    def reorder(self, source_indices: Sequence[int]) -> None:
        """Let hypothesis i continue from what hypothesis source_indices[i] holds."""
        moved = [row for row, source in enumerate(source_indices) if row != source]
        if moved:
            self._filled[:, moved] = self._filled[:, [source_indices[row] for row in moved]]

    @property
    def _filled(self) -> torch.Tensor:
        """[2, n_group, n_text_head, n_filled, n_channels]."""
        return self._states[:, :, :, : self.n_filled]
