"""A made-up comparison for tests of reports; nothing here runs a model."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from maxwhisper_cli.compare.results import Comparison, Recording
from maxwhisper_cli.compare.runner import Outcome
from tests.compare.outcomes import MISHEARD, REFERENCE, compared, done, measured
from tests.support.sound import tone


@pytest.fixture
def talk(tmp_path: Path) -> str:
    """8 s of sound."""
    path = tmp_path / "talk.wav"
    soundfile.write(str(path), tone(440, 8.0, 16000).astype(np.float32), 16000)
    return str(path)


@pytest.fixture
def comparison(talk: str) -> Comparison:
    """Two that did the work, one with another word; one unavailable, one failed."""
    return compared(
        done("cpu", measured(talk)),
        Outcome("cuda", "unavailable", "no NVIDIA driver on this machine"),
        Outcome("hybrid", "failed", "its process was ended by SIGKILL"),
        done(
            "full-max",
            measured(talk, MISHEARD, tokens=(1, 7, 3), run_seconds=(1.0, 0.5, 0.8)),
        ),
        recordings=(Recording(talk, REFERENCE),),
    )
