"""Every dtype in which the implementations compute on a GPU hears what is said."""

import re
from pathlib import Path

import pytest

from implementations import registry
from implementations.base import LoadOptions
from maxwhisper_cli.model import Model
from maxwhisper_cli.transcription.options import TranscribeOptions
from tests.support import loaded
from tests.support.hardware import needs_max_gpu


@pytest.mark.gpu
@needs_max_gpu
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("name", ["cuda", "hybrid", "full-max"])
def test_it_says_the_words(name: str, dtype: str, jfk: Path) -> None:
    load = registry.implementation_class(name).load
    options = LoadOptions(device="cuda", dtype=dtype)
    with Model(load(loaded.checkpoint("tiny.en"), options)) as model:
        assert (model.implementation.device, model.implementation.dtype) == ("cuda:0", dtype)
        for beam_size in (None, 5):
            text = model.transcribe(jfk, TranscribeOptions(beam_size=beam_size)).text
            assert words(text) == words(loaded.whisper_result("tiny.en", jfk, beam_size)["text"])


def words(text: str) -> list[str]:
    """Punctuation, which half precision may set otherwise, is left out."""
    return re.findall(r"[a-z]+", text.lower())
