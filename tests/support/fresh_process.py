"""A transcription in a process of its own: what it imported, or how its command line ended."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from implementations.options import LoadOptions
from implementations.registry import implementation_class
from maxwhisper_cli.model import Model
from maxwhisper_cli.transcription.options import TranscribeOptions
from weights.resolve import load
implementation, recording, *modules = sys.argv[1:]
checkpoint = load("tiny.en", model_dir=None, offline=True, progress=None)
with Model(implementation_class(implementation).load(checkpoint, LoadOptions())) as model:
    print(model.transcribe(recording, TranscribeOptions(beam_size=None)).text)
print(*set(modules) & sys.modules.keys())
"""


def imported_by(implementation: str, recording: Path, *modules: str) -> tuple[str, str]:
    """Returns the text of an implementation, and those of the modules that it imported."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, implementation, str(recording), *modules],
        capture_output=True,
        text=True,
        check=True,
    )
    text, imported = done.stdout.splitlines()
    return text, imported


def transcribe(recording: Path, into: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Runs `maxwhisper transcribe` with tiny.en; returns exit code and output."""
    command = ["-m", "maxwhisper_cli", "transcribe", "--model", "tiny.en", "--offline"]
    return subprocess.run(
        [sys.executable, *command, *options, str(recording), "-o", str(into)],
        capture_output=True,
        text=True,
        check=False,
    )
