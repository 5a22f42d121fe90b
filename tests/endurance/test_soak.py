"""A short soak: a few rounds of mixed work; `make soak` runs two hours."""

import pytest

import maxwhisper_cli
from tests.endurance.soak import WARM_ROUNDS, Soak, run_soak


@pytest.mark.full
def test_rounds_leave_nothing_behind() -> None:
    """Half a minute of work, so not in the default suite."""
    with maxwhisper_cli.load("tiny.en", impl="cpu", offline=True) as model:
        soak = run_soak(model, seconds=0, min_rounds=WARM_ROUNDS + 3)
    assert soak.faults() == []


def test_what_grows_is_found() -> None:
    soak = Soak([100, 100, 100, 101, 101, 110], [5, 5, 5, 5, 5, 6], [["a"]] * 5 + [["b"]])
    assert soak.faults() == [
        "memory grew by 10.0%",
        "descriptors: [5, 5, 5, 5, 5, 6]",
        "texts differ from the first round's",
    ]
    assert Soak([100, 90, 100, 101, 100, 101], [9, 5, 5, 5, 5, 5], [["a"]] * 6).faults() == []
