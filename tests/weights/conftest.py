"""Real weights for these tests, and a cache folder of their own."""

from pathlib import Path

import pytest

from weights.checkpoint import Checkpoint
from weights.packages import PACKAGED_MODELS, installed_parts
from weights.resolve import load


@pytest.fixture(scope="session")
def _session_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder for each test, and none of openai-whisper's files."""
    monkeypatch.setenv("MAXWHISPER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "cache"


def _load(name: str, cache: Path) -> Checkpoint:
    if not any(installed_parts(packaged) for packaged in PACKAGED_MODELS[name]):
        pytest.skip(f"no package that carries {name} is installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAXWHISPER_CACHE", str(cache))
        return load(name, offline=True)


@pytest.fixture(scope="session")
def tiny_en(_session_cache: Path) -> Checkpoint:
    return _load("tiny.en", _session_cache)


@pytest.fixture(scope="session")
def base(_session_cache: Path) -> Checkpoint:
    return _load("base", _session_cache)
