"""The first command of the documentation on a machine where turbo cannot be fetched."""

import json
from pathlib import Path

import pytest

from maxwhisper_cli import model as api
from tests.cli.conftest import FakeModels, MakeSound, RunCommandLine
from weights.errors import ModelNotFoundError

REAL_LOAD = api.load


def test_no_named_model_reaches_the_loader(
    maxwhisper: RunCommandLine, models: FakeModels, sound: MakeSound
) -> None:
    assert maxwhisper("transcribe", sound(), "-f", "txt", "--language", "en").exit_code == 0
    assert (models.calls[0]["model"], models.calls[0]["is_english"]) == (None, True)


def test_best_local_model_is_used_and_reported(
    maxwhisper: RunCommandLine, jfk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from weights import resolve

    real = resolve.resolve

    def find(name: str, **settings: object) -> Path:
        if name == "turbo":
            raise ModelNotFoundError("turbo cannot be fetched")
        return real(name, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(api, "load", REAL_LOAD)
    monkeypatch.setattr(resolve, "resolve", find)
    monkeypatch.setattr(resolve, "names_here", lambda _folder: ("tiny.en",))
    arguments = ("--impl", "cpu", "-f", "json", "--beam-size", "None", "--verbose", "False")
    done = maxwhisper("transcribe", str(jfk), *arguments)
    assert done.exit_code == 0
    expected = "turbo is neither here nor to be fetched: using tiny.en, the best that is here"
    assert expected in done.stderr.splitlines()[0]
    assert done.stderr.count(expected) == 1
    written = json.loads(Path("jfk.json").read_text(encoding="utf-8"))
    assert written["model"] == "tiny.en"
    assert expected in written["warnings"][0]


def test_a_named_model_is_never_replaced(
    maxwhisper: RunCommandLine, jfk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "load", REAL_LOAD)
    for environment, arguments in (("", ("--model", "turbo")), ("turbo", ())):
        monkeypatch.setenv("MAXWHISPER_MODEL", environment)
        done = maxwhisper("transcribe", str(jfk), "--offline", "--impl", "cpu", *arguments)
        assert done.exit_code == 1
        assert "turbo is not here" in done.stderr
        assert "here are" in done.stderr
