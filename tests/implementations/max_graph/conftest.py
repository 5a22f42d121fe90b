"""The fake compiler, with an empty cache folder."""

from pathlib import Path

import pytest

from tests.support.fake_compiler import FakeCompiler


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeCompiler:
    monkeypatch.setenv("MAXWHISPER_CACHE", str(tmp_path / "cache"))
    return FakeCompiler(monkeypatch, tmp_path)
