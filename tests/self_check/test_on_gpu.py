"""The check of a first use on a real GPU: it passes once and is kept; wrong weights are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from implementations import nvidia
from implementations.errors import ImplementationUnavailableError
from maxwhisper_cli.model import load
from maxwhisper_cli.model_loading import SWITCH
from maxwhisper_cli.self_check import records
from tests.support.hardware import needs_max_gpu

pytest.importorskip("max.driver", reason="MAX is not installed: maxwhisper[max]")

PACKING = "implementations.max_graph.gpu.load.graph_weights"
pytestmark = [pytest.mark.gpu, needs_max_gpu]


@pytest.fixture
def first_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], list[str]]:
    """Loads and closes the model as on a card that was never seen; returns lines for the user."""
    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.setattr(nvidia, "CONFIRMED_GPUS", ())
    monkeypatch.setattr(records, "cache_root", lambda: tmp_path)  # compiled graphs are kept

    def first_use() -> list[str]:
        lines: list[str] = []
        settings: dict[str, Any] = {"device": "cuda", "dtype": "float16", "offline": True}
        with load("tiny.en", "full-max", on_compile=lines.append, **settings):
            return [line for line in lines if line.startswith("checking")]

    return first_use


def test_an_unconfirmed_gpu_is_checked_once(first_use: Callable[[], list[str]]) -> None:
    assert len(first_use()) == 1
    assert first_use() == []


@pytest.mark.parametrize("name", ["decoder.blocks.1.mlp.0", "encoder.blocks.3.mlp.2"])
def test_wrong_sums_are_refused(
    name: str, first_use: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of one matrix change places: what a kernel with a wrong index would compute."""
    from implementations.max_graph.gpu.weights import graph_weights

    def pack_wrongly(*arguments: Any) -> dict[str, Any]:
        packed: dict[str, Any] = graph_weights(*arguments)
        packed[f"{name}.weight"] = np.ascontiguousarray(packed[f"{name}.weight"][::-1])
        return packed

    monkeypatch.setattr(PACKING, pack_wrongly)
    for _ in range(2):  # the second time from the record
        with pytest.raises(ImplementationUnavailableError, match=r"is not used on .* parity FILE"):
            first_use()
    monkeypatch.setattr(PACKING, graph_weights)
    with pytest.raises(ImplementationUnavailableError, match="is not used on"):
        first_use()  # until it is checked again
    monkeypatch.setenv(SWITCH, "always")
    assert len(first_use()) == 1
