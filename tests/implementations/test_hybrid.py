"""`hybrid` does without openai-whisper's package, and hands features over without a copy."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

PROGRAM = """
import sys
from implementations.base import LoadOptions
from implementations.hybrid import HybridImplementation
from maxwhisper_cli.model import Model
from weights.resolve import load
checkpoint = load("tiny.en", model_dir=None, offline=True, progress=None)
with Model(HybridImplementation.load(checkpoint, LoadOptions())) as model:
    print(model.transcribe(sys.argv[1]).text)
print(*{"whisper", "numba", "torch._dynamo", "torch._inductor"} & sys.modules.keys())
"""


def test_transcribes_without_importing_openai_whisper(jfk: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(jfk)], capture_output=True, text=True, check=True
    )
    text, imported = done.stdout.splitlines()
    assert "ask not what your country can do for you" in text
    assert imported == ""
