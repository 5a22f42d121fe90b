"""The estimates for other GPUs: they fit what was measured on an H100, and the README has them."""

from pathlib import Path

import pytest

from tests.benchmarks.gpu_estimates import (
    BEST_SHARE,
    GPUS,
    MODELS,
    Model,
    encoder_ms,
    speech_seconds,
    step_ms,
    table,
)

README = Path(__file__).parents[2] / "implementations" / "max_graph" / "README.md"
MEASURED = {"tiny.en": (0.095, 0.14), "turbo": (5.3, 0.27), "large-v3": (5.3, 1.7)}
"""Milliseconds of encoder and step on an H100, by the README."""


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_formulas_fit_an_h100(model: Model) -> None:

    encoder, step = MEASURED[model.name]
    assert encoder_ms(GPUS[0], model, BEST_SHARE) == pytest.approx(encoder, rel=0.15)
    assert step_ms(GPUS[0], model) == pytest.approx(step, rel=0.2)
    if model.name == "tiny.en":
        assert speech_seconds(GPUS[0], model) == pytest.approx(0.085, rel=0.1)


def test_the_readme_has_the_table() -> None:
    assert table() in README.read_text(encoding="utf-8")
