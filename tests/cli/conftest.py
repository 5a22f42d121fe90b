"""The command line in this process, on a scripted model that says the same in every window."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

from implementations.request import DecodedWindow, DecodeRequest
from maxwhisper_cli.app import make_app
from maxwhisper_cli.inputs.state import FILE_NAME
from tests.support.fake_models import SPOKEN, FakeModels, says
from tests.support.scripted import TINY_EN, Script
from tests.support.sound import tone
from weights.dims import ModelDimensions

__all__ = ["SPOKEN", "FakeModels", "says"]
"""Those of tests/support/fake_models.py."""

RunCommandLine = Callable[..., Result]
MakeSound = Callable[..., Path]


def names(folder: Path) -> list[str]:
    """Names in a folder, without the record of what is done."""
    return sorted(path.name for path in folder.iterdir() if path.name != FILE_NAME)


def stopped_after(n_windows: int, script: Script) -> Script:
    """So many windows decode by a script; at the next one the user presses Ctrl-C."""
    numbers = itertools.count()

    def stopping(request: DecodeRequest) -> DecodedWindow:
        if next(numbers) == n_windows:
            raise KeyboardInterrupt
        return script(request)

    return stopping


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> FakeModels:
    fakes = FakeModels()
    monkeypatch.setattr("maxwhisper_cli.model.load", fakes.load)
    return fakes


@pytest.fixture
def turbo_dims() -> ModelDimensions:
    return replace(
        TINY_EN, n_mels=128, n_audio_layer=32, n_text_layer=4, n_vocab=51866, n_audio_state=1280
    )


@pytest.fixture
def maxwhisper(
    models: FakeModels, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> RunCommandLine:
    """Runs the command line in an empty folder; an exception that gets through fails the test."""
    assert models.calls == []
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for variable in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "MAXWHISPER_MODEL"):
        monkeypatch.delenv(variable, raising=False)

    def run(*arguments: str | Path, stdin: bytes = b"") -> Result:
        return CliRunner().invoke(
            make_app(),
            [str(argument) for argument in arguments],
            input=stdin,
            catch_exceptions=False,
            prog_name="maxwhisper",
        )

    return run


@pytest.fixture
def sound(tmp_path: Path) -> MakeSound:
    """Makes a wav file of a tone, 16 kHz."""

    def make(name: str = "talk.wav", seconds: float = 1.0) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = tone(440, seconds, 16000).astype(np.float32)
        soundfile.write(str(path), samples, 16000, format="WAV")
        return path

    return make
