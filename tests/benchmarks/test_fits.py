"""Computations of the benchmarks from times; nothing is timed here."""

import numpy as np
import pytest

from tests.benchmarks.rivals import BASELINE, Run, results_of
from tests.benchmarks.steps import fitted


def test_slope_of_a_line_comes_with_its_error() -> None:
    positions = np.arange(1, 201)
    noise = np.random.default_rng(0).normal(0, 0.05, 200)
    slope = fitted(5 + 0.002 * positions + noise, 1)
    assert slope.value == pytest.approx(2.0, abs=3 * slope.error)
    assert 0 < slope.error < 0.2


def test_a_parabola_shows_and_a_line_does_not() -> None:
    positions = np.arange(1, 201)
    noise = np.random.default_rng(0).normal(0, 0.05, 200)
    curved = fitted(5 + 1e-4 * positions**2 + noise, 2)
    straight = fitted(5 + 0.002 * positions + noise, 2)
    assert curved.value > 10 * curved.error
    assert abs(straight.value) < 3 * straight.error


def test_ratios_are_of_runs_in_the_same_round() -> None:
    def run(seconds: float, text: str = "red blue") -> Run:
        return Run(0.1, {"clip": seconds}, 100.0, {"clip": text})

    rounds = [
        {BASELINE: run(4.0), "other": run(2.0)},
        {BASELINE: run(8.0), "other": run(2.0, "red green")},
    ]
    baseline, other = results_of(rounds, {"clip": "red green"})
    assert baseline.ratios == [1.0, 1.0]
    assert other.ratios == [0.5, 0.25]
    assert baseline.wer_percent == {"clip": 50.0}
    assert other.wer_percent == {"clip": 0.0}
