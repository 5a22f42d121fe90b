"""Results of a rung of the ladder: distances of arrays, or the first difference of sequences."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Distance:
    """Distance of an array from its reference."""

    max_abs: float
    relative: float
    """Norm of the difference over the norm of the reference."""
    cosine: float


@dataclass(frozen=True, slots=True)
class Rung:
    """One line of the ladder."""

    name: str
    passed: bool | None
    """Result against the limit; None if the dtype has no limit."""
    limit: float | None = None
    """Limit of the largest difference, or of the relative error if `is_relative`."""
    is_relative: bool = False
    distance: Distance | None = None
    note: str = ""
    """A count, or the first difference of two sequences."""


def measure(ours: FloatArray, reference: FloatArray) -> Distance:
    """Returns the distance of two arrays of one shape, which is NaN if any element is."""
    ours64, reference64 = ours.astype(np.float64).ravel(), reference.astype(np.float64).ravel()
    difference = ours64 - reference64
    norm = float(np.linalg.norm(reference64))
    product = float(np.linalg.norm(ours64)) * norm
    return Distance(
        max_abs=float(np.abs(difference).max(initial=0.0)),
        relative=float(np.linalg.norm(difference)) / norm if norm else float(difference.any()),
        cosine=float(ours64 @ reference64) / product if product else float(not difference.any()),
    )


def array_rung(
    name: str,
    ours: FloatArray,
    reference: FloatArray,
    limit: float,
    *,
    is_relative: bool = False,
) -> Rung:
    """Compares arrays; a different shape fails, and so does NaN."""
    if ours.shape != reference.shape:
        note = f"shape {list(ours.shape)}, not {list(reference.shape)}"
        return Rung(name, passed=False, limit=limit, is_relative=is_relative, note=note)
    distance = measure(ours, reference)
    error = distance.relative if is_relative else distance.max_abs
    return Rung(name, error <= limit, limit, is_relative, distance)


def sequence_rung(
    name: str, ours: Sequence[object], reference: Sequence[object], *, must_be_equal: bool
) -> Rung:
    """Compares sequences, and reports the first difference."""
    is_equal = list(ours) == list(reference)
    passed = is_equal if must_be_equal or is_equal else None
    if is_equal:
        return Rung(name, passed, note=f"{len(reference)} equal")
    at = next(
        (i for i, pair in enumerate(zip(ours, reference, strict=False)) if pair[0] != pair[1]),
        min(len(ours), len(reference)),
    )
    return Rung(
        name, passed, note=f"part at {at}: {_item_at(ours, at)}, not {_item_at(reference, at)}"
    )


def _item_at(sequence: Sequence[object], at: int) -> str:
    if at >= len(sequence):
        return "the end"
    item = sequence[at]
    return repr("".join(map(str, sequence[at : at + 24]))) if isinstance(item, str) else str(item)
