"""Distances and partings, as the ladder shows them."""

import numpy as np
import pytest

from maxwhisper_cli.parity.rungs import array_rung, measure, sequence_rung


def test_measures() -> None:
    distance = measure(np.array([3.0, 4.5], np.float32), np.array([3.0, 4.0], np.float32))
    assert distance.max_abs == pytest.approx(0.5)
    assert distance.relative == pytest.approx(0.1)
    assert distance.cosine == pytest.approx((9 + 18) / (5 * np.hypot(3, 4.5)))


@pytest.mark.parametrize(
    ("ours", "limit", "is_relative", "passed"),
    [
        ([1.0, 2.001], 2e-3, False, True),
        ([1.0, 2.003], 2e-3, False, False),
        ([1.0, 2.003], 2e-3, True, True),
        ([1.0, np.nan], 1.0, False, False),
        ([1.0, 2.0, 3.0], 1.0, False, False),
    ],
    ids=["within", "beyond", "relative", "nan", "shape"],
)
def test_arrays(ours: list[float], limit: float, is_relative: bool, passed: bool) -> None:
    reference = np.array([1.0, 2.0], np.float32)
    rung = array_rung("x", np.array(ours, np.float32), reference, limit, is_relative=is_relative)
    assert rung.passed is passed


@pytest.mark.parametrize(
    ("ours", "theirs", "must_be_equal", "passed", "note"),
    [
        ([1, 2], [1, 2], True, True, "2 equal"),
        ([1, 3], [1, 2], True, False, "part at 1: 3, not 2"),
        ([1], [1, 2], True, False, "part at 1: the end, not 2"),
        ([1, 3], [1, 2], False, None, "part at 1: 3, not 2"),
        ("a ship", "a sheep", True, False, "part at 4: 'ip', not 'eep'"),
    ],
)
def test_sequences(
    ours: list[int], theirs: list[int], must_be_equal: bool, passed: bool | None, note: str
) -> None:
    rung = sequence_rung("x", ours, theirs, must_be_equal=must_be_equal)
    assert (rung.passed, rung.note) == (passed, note)
