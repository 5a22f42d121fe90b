"""Memory that an object refers to: its arrays, tensors and buffers, on any device."""

import gc
import sys
from types import BuiltinFunctionType, FunctionType, ModuleType

import numpy as np
import torch

_SHARED = (type, ModuleType, FunctionType, BuiltinFunctionType)
"""Types that lead from an object to everything that is loaded."""


def referenced_bytes(root: object) -> int:
    """Returns the bytes of everything that can be reached, each once."""
    seen: dict[int, object] = {}
    left = [root]
    while left:
        found = left.pop()
        if id(found) not in seen and not isinstance(found, _SHARED):
            seen[id(found)] = found
            left += gc.get_referents(found)
    return sum(map(_own_bytes, seen.values()))


def _own_bytes(found: object) -> int:
    if isinstance(found, torch.Tensor):
        return 0 if found.is_meta or found.is_sparse else found.nbytes
    if isinstance(found, np.ndarray):
        return found.nbytes
    if "max.driver" in sys.modules and isinstance(found, sys.modules["max.driver"].Buffer):
        return int(found.num_elements * found.dtype.size_in_bytes)
    return 0
