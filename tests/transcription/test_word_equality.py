"""Times of words against whisper.transcribe, on real speech with real weights, in float32.

Words, their times and those of segments are equal to the hundredth of a second, in which
openai-whisper rounds them; probabilities agree to 1e-3, as in `test_whisper_equality`.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from maxwhisper_cli.transcription.options import TranscribeOptions
from tests.support import loaded
from tests.support.hardware import implementations
from tests.support.words import assert_words_agree, assert_words_equal

OPTIONS = TranscribeOptions(temperatures=(0.0,), beam_size=None, word_timestamps=True)
SILENCE_SECONDS = 60
CASES = [("tiny.en", "jfk", None), ("base", "spanish", None)]
"""Cases of the default suite: both vocabularies, two languages, seconds of computing each. The
second one runs on `cpu` in `full` alone: `hybrid` aligns by the same code."""
FURTHER = [
    (model, clip, beam_size)
    for model in ("tiny.en", "base")
    for clip in ("jfk", "sonnet", "spanish")
    for beam_size in (None, 5)
    if (model, clip, beam_size) not in CASES
]


def assert_equal_to_whisper(model: str, impl: str, path: Path, beam_size: int | None) -> None:
    options = replace(OPTIONS, beam_size=beam_size)
    ours = loaded.model(model, impl).transcribe(loaded.samples_of(path), options)
    assert_words_equal(ours, loaded.whisper_result(model, path, beam_size, word_timestamps=True))


@pytest.mark.parametrize(
    ("impl", "model", "clip", "beam_size"),
    [
        pytest.param(impl.values[0], *case, marks=impl.marks)
        for case in CASES
        for impl in implementations(in_full=["cpu"] * (case[0] == "base"))
    ],
    indirect=["impl"],
)
def test_words_equal_whisper(
    model: str, impl: str, clip: str, beam_size: int | None, request: pytest.FixtureRequest
) -> None:
    assert_equal_to_whisper(model, impl, request.getfixturevalue(clip), beam_size)


@pytest.mark.full
@pytest.mark.parametrize(("model", "clip", "beam_size"), FURTHER)
def test_words_equal_whisper_in_every_case(
    model: str, impl: str, clip: str, beam_size: int | None, request: pytest.FixtureRequest
) -> None:
    assert_equal_to_whisper(model, impl, request.getfixturevalue(clip), beam_size)


@pytest.mark.full
@pytest.mark.parametrize("beam_size", [None, 5], ids=["greedy", "beam5"])
@pytest.mark.parametrize("model", ["tiny.en", "base"])
def test_words_equal_whisper_on_every_shared_file(
    model: str, impl: str, beam_size: int | None, shared_audio_file: Path
) -> None:
    assert_equal_to_whisper(model, impl, shared_audio_file, beam_size)


@pytest.fixture(scope="module")
def speeches(jfk: Path) -> np.ndarray:
    """33 s of speech, which are two windows."""
    return np.tile(loaded.samples_of(jfk), 3)


def test_words_of_several_windows_equal_whisper(impl: str, speeches: np.ndarray) -> None:
    ours = loaded.model("tiny.en", impl).transcribe(speeches, OPTIONS)
    assert len({segment.seek for segment in ours.segments}) > 1
    theirs = loaded.whisper_transcribe("tiny.en", speeches, beam_size=None, word_timestamps=True)
    assert_words_equal(ours, theirs)


@pytest.mark.full
def test_words_of_a_batch_are_those_alone(impl: str, jfk: Path, speeches: np.ndarray) -> None:
    """No window is prompted; test_row_independence.py compares words whose windows are."""
    model = loaded.model("tiny.en", impl)
    options = replace(OPTIONS, condition_on_previous_text=False)
    recordings = [loaded.samples_of(jfk), speeches]
    alone = [model.transcribe(each, options) for each in recordings]
    together = model.transcribe_several(recordings, replace(options, batch_size=4))
    found = {each.index: each.transcript for each in together}
    for index, expected in enumerate(alone):
        assert_words_agree(found[index], expected)


@pytest.fixture(scope="module")
def with_silence(jfk: Path) -> np.ndarray:
    """22 s of speech with a minute of silence in the middle."""
    samples = loaded.samples_of(jfk)
    return np.concatenate([samples, np.zeros(SILENCE_SECONDS * 16000, np.float32), samples])


@pytest.mark.max
@pytest.mark.parametrize("impl", ["full-max", pytest.param("cpu", marks=pytest.mark.full)])
def test_a_minute_of_silence_is_skipped_as_upstream_does(
    impl: str, with_silence: np.ndarray
) -> None:
    pytest.importorskip("max")
    options = replace(OPTIONS, hallucination_silence_threshold=2.0)
    ours = loaded.model("tiny.en", impl).transcribe(with_silence, options)
    theirs = loaded.whisper_transcribe(
        "tiny.en",
        with_silence,
        beam_size=None,
        word_timestamps=True,
        hallucination_silence_threshold=2.0,
    )
    assert_words_equal(ours, theirs)
    ends = [word.end for segment in ours.segments for word in segment.words or ()]
    assert ends[-1] > 11 + SILENCE_SECONDS
