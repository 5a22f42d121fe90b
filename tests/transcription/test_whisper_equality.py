"""The whole product against its reference: whisper.transcribe, on real speech with real weights.

Tokens, text, segment times and temperatures are equal, not near; probabilities agree to 1e-3, which
is far above float32 rounding in two orders of summing and far below any threshold's meaning.
"""

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from maxwhisper_cli.transcription.options import TranscribeOptions
from tests.support import loaded
from tests.support.hardware import implementations

MODELS = ["tiny.en", "base"]
CLIPS = ["jfk", "sonnet", "spanish"]
BEAMS = {"greedy": None, "beam5": 5}
ON_PYTORCH = {
    ("tiny.en", "jfk", "greedy"): ("cpu", "hybrid"),
    ("tiny.en", "sonnet", "beam5"): ("hybrid",),
    ("base", "jfk", "beam5"): ("hybrid",),
    ("base", "spanish", "greedy"): ("cpu",),
}
"""Cases of the default suite for what decodes by PyTorch on the CPU, with those that run them: the
decoder and both searches are the same code, the encoders are not. Together they have several
windows and one, both searches, both vocabularies, and a language that is found;
test_word_equality.py has several windows in greedy search on each, test_against_whisper_decode.py
beams on `cpu`. The others are `full`: they take 150 s of processor time more, and run the same code
on another text; `full-max` runs them all."""


def cases() -> list[Any]:
    """Returns each implementation, model, clip and search."""
    return [
        pytest.param(impl.values[0], *case, marks=impl.marks, id="-".join((impl.values[0], *case)))
        for case in product(MODELS, CLIPS, BEAMS)
        for impl in implementations(in_full={"cpu", "hybrid"}.difference(ON_PYTORCH.get(case, ())))
    ]


def assert_equal_to_whisper(model: str, impl: str, path: Path, beam_size: int | None) -> None:
    options = TranscribeOptions(temperatures=(0.0,), beam_size=beam_size)
    ours = loaded.model(model, impl).transcribe(loaded.samples_of(path), options)
    theirs = loaded.whisper_result(model, path, beam_size)
    assert ours.text == theirs["text"]
    assert ours.language == theirs["language"]
    assert [list(s.tokens) for s in ours.segments] == [s["tokens"] for s in theirs["segments"]]
    for mine, reference in zip(ours.segments, theirs["segments"], strict=True):
        for field in ("id", "seek", "text", "temperature", "compression_ratio"):
            assert getattr(mine, field) == reference[field], field
        assert (round(mine.start, 2), round(mine.end, 2)) == (
            round(reference["start"], 2),
            round(reference["end"], 2),
        )
        assert mine.avg_logprob == pytest.approx(reference["avg_logprob"], abs=1e-3)
        assert mine.no_speech_prob == pytest.approx(reference["no_speech_prob"], abs=1e-3)


@pytest.mark.parametrize(("impl", "model", "clip", "search"), cases(), indirect=["impl"])
def test_equals_whisper(
    impl: str, model: str, clip: str, search: str, request: pytest.FixtureRequest
) -> None:
    assert_equal_to_whisper(model, impl, request.getfixturevalue(clip), BEAMS[search])


@pytest.mark.full
@pytest.mark.parametrize("beam_size", [None, 5], ids=["greedy", "beam5"])
@pytest.mark.parametrize("model", ["tiny.en", "base"])
def test_equals_whisper_on_every_shared_file(
    model: str, impl: str, beam_size: int | None, shared_audio_file: Path
) -> None:
    assert_equal_to_whisper(model, impl, shared_audio_file, beam_size)
