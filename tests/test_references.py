"""Kept results of openai-whisper: reused for the same, computed for anything else or on demand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import references
from tests.support.checkpoints import SMALL_DIMS
from weights.checkpoint import Checkpoint

SAMPLES = np.zeros(4, np.float32)
RESULT = {"text": " Grüße.", "segments": [{"start": np.float32(0.1), "tokens": [1, 2]}]}
Keep = Callable[..., int]


def weights(number: float) -> Checkpoint:
    return Checkpoint(SMALL_DIMS, {"a": np.full(3, number)}, (), Path("made-up"))


@pytest.fixture
def keep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Keep:
    """Asks for a result, and returns how often one was computed so far."""
    monkeypatch.setenv("MAXWHISPER_CACHE", str(tmp_path))
    monkeypatch.setattr(references, "recompute", False)
    computed: list[dict[str, Any]] = []

    def ask(number: float = 1.0, samples: np.ndarray = SAMPLES, **options: Any) -> int:
        def compute() -> dict[str, Any]:
            computed.append(RESULT)
            return RESULT

        assert references.kept(compute, weights(number), samples, **options) == RESULT
        return len(computed)

    return ask


def test_the_same_is_computed_once(keep: Keep) -> None:
    assert references.n_kept() == 0
    assert [keep(), keep(), keep()] == [1, 1, 1]
    assert references.n_kept() == 1


def test_anything_else_is_computed(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [keep(), keep(2.0), keep(samples=SAMPLES + 1), keep(beam_size=5)] == [1, 2, 3, 4]
    monkeypatch.setattr(references, "version", lambda _: "another")
    assert [keep(), keep()] == [5, 5]
    assert references.n_kept() == 4, "the older one went"


def test_all_is_computed_on_demand(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    keep()
    monkeypatch.setattr(references, "recompute", True)
    assert [keep(), keep()] == [2, 3]
