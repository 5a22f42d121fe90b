"""KV cache of a decoder session: a tensor for each layer, written in place.

It computes nothing.
"""

from collections.abc import Sequence

import torch

from weights.dims import ModelDimensions

KV = tuple[torch.Tensor, torch.Tensor]
"""Keys and values, each [n_batch, n_text_head, n_ctx, head_dim]."""


class KVCache:
    """One layer's keys and values for n_group hypotheses; the prompt is stored for the first alone.

    Memory is touched as positions are filled, not when it is allocated.
    """

    def __init__(
        self, dims: ModelDimensions, n_group: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        n_head, head_dim = dims.n_text_head, dims.n_text_state // dims.n_text_head
        shape = (2, n_group, n_head, dims.n_text_ctx, head_dim)
        self._states = torch.empty(shape, device=device, dtype=dtype)
        self.n_filled = 0

    def append(self, keys: torch.Tensor, values: torch.Tensor) -> KV:
        """Appends new positions of the first hypotheses, or of all.

        Args:
            keys: [n_rows, n_text_head, n_new, head_dim].
            values: As keys.

        Returns:
            Keys and values of these rows, old and new.
        """
        n_rows, _, n_new, _ = keys.shape
        begin, self.n_filled = self.n_filled, self.n_filled + n_new
        rows = self._filled[:, :n_rows]
        rows[0, :, :, begin:] = keys
        rows[1, :, :, begin:] = values
        return rows[0], rows[1]

    def share(self) -> None:
        """Copies the first hypothesis to all others."""
        self._filled[:, 1:] = self._filled[:, :1]

    def reorder(self, source_indices: Sequence[int]) -> None:
        """Copies hypothesis source_indices[i] to hypothesis i, for all i at once."""
        rows = [row for row, source in enumerate(source_indices) if row != source]
        if rows:
            self._filled[:, rows] = self._filled[:, [source_indices[row] for row in rows]]

    @property
    def _filled(self) -> torch.Tensor:
        """[2, n_group, n_text_head, n_filled, head_dim]."""
        return self._states[:, :, :, : self.n_filled]
