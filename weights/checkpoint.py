"""A model's weights in memory or mapped from disk: sizes plus arrays under canonical names."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from weights.dims import ModelDimensions

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Whisper weights under OpenAI's names, checked for completeness and shape.

    Arrays keep the file's dtype (fp16 stays fp16); an implementation converts what it needs.
    They are read-only and may be mapped from the file, so reading one costs no copy. A mapped array
    may be unaligned: NumPy copies such an array correctly, a bare pointer to it is not usable.
    """

    dims: ModelDimensions
    tensors: Mapping[str, Array]
    """`{"encoder.conv1.weight": array, ...}`, in openai-whisper's naming and shapes."""
    alignment_heads: tuple[tuple[int, int], ...]
    """(decoder layer, head) pairs whose cross-attention follows time: see `weights.assembly`."""
    source: Path
    model_name: str | None = None
    """Name such as `tiny.en` if the tensors are a named model's, whatever the file is called."""
    has_vocabulary: bool = False
    """True if the file holds its vocabulary, so that files beside it tell nothing of it."""
    notes: tuple[str, ...] = ()
    """Lines for the user about what was left out."""
