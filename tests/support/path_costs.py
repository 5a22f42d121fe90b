"""Costs of cells on which dynamic time warping is tested: where paths tie, and where sums round."""

import numpy as np
import numpy.typing as npt

KINDS = ("noise", "many ties", "all equal", "smooth", "small after large")


def path_costs(kind: str, *shape: int) -> npt.NDArray[np.float32]:
    """Returns costs of the last two axes' cells, the same for the same shape."""
    values = np.random.default_rng(7).standard_normal(shape, np.float32)
    small = values / 1000
    small[..., 0, 0] = -10000  # float32 sums of the rest would hold no difference
    changed: dict[str, npt.NDArray[np.floating]] = {
        "noise": values,
        "many ties": np.round(values),
        "all equal": np.zeros_like(values),
        "smooth": np.cumsum(values, axis=-1) / 100,
        "small after large": small,
    }
    return changed[kind].astype(np.float32)
