"""A GPU that is not the first: the same tokens there, with the first one at work or not."""

from pathlib import Path

import pytest

from tests.support import fresh_process, loaded
from tests.support.hardware import needs_two_max_gpus

pytestmark = [
    pytest.mark.gpu,
    needs_two_max_gpus,
    pytest.mark.parametrize("name", ["cuda", "hybrid", "full-max"]),
]


def test_both_find_the_tokens_of_openai_whisper(name: str, sonnet: Path) -> None:
    devices = ("cuda:1", "cuda:0")
    models = [loaded.load("tiny.en", name, device=d, dtype="float32") for d in devices]
    assert tuple(model.implementation.device for model in models) == devices
    for beam_size in (None, 5):
        for model in models:
            loaded.assert_token_identical(model, sonnet, beam_size)


def test_the_command_line_runs_there_alone(name: str, jfk: Path, tmp_path: Path) -> None:
    options = ("--impl", name, "--device", "cuda:1", "-f", "txt")
    done = fresh_process.transcribe(jfk, tmp_path, *options)
    assert done.returncode == 0, done.stderr
    assert f"on {name} (cuda:1, float16)" in done.stderr.replace("\n", " ")
    assert "ask what you can do for your country" in (tmp_path / "jfk.txt").read_text()
