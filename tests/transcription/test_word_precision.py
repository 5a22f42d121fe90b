"""Times of words in dtypes that round, against float32 on the CPU, on real speech.

99 % of the words that both have begin and end within 0.04 s of float32's in float16, 98 % in int8.
A word that was heard otherwise has no time to compare; at most one in twenty is.

bfloat16 has no test here: with eight bits one word in ten is heard otherwise, and 94 % of the
others are near. Given the same text its tokens are near; see `test_gpu` and `test_contract`.
"""

from difflib import SequenceMatcher
from functools import cache
from pathlib import Path

import pytest

from maxwhisper_cli.samples import fetch_samples
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.segments import Transcript, Word
from tests.support import loaded
from tests.support.hardware import needs_max_gpu

OPTIONS = TranscribeOptions(
    language="en", temperatures=(0.0,), beam_size=None, word_timestamps=True
)
NEAR_SECONDS = 0.04
RECORDINGS = ("jfk", "sonnet", "telephone", "long")
"""Five minutes of English by several speakers, 629 words; on a CPU the first two, 130 words."""


@pytest.mark.gpu
@needs_max_gpu
@pytest.mark.parametrize("name", ["cuda", "hybrid", "full-max"])
def test_float16_on_a_gpu(name: str) -> None:
    assert_near(name, RECORDINGS, 0.99, device="cuda", dtype="float16", exact="cpu")


def test_int8_on_a_cpu() -> None:
    name = "full-max"  # whose words in float32 are openai-whisper's, by test_word_equality.py
    assert_near(name, RECORDINGS[:2], 0.98, device="cpu", dtype="int8", exact=name)


def assert_near(
    name: str, recordings: tuple[str, ...], share: float, *, device: str, dtype: str, exact: str
) -> None:
    n_words, off = 0, []
    with loaded.load("tiny.en", name, device=device, dtype=dtype) as model:
        assert model.implementation.dtype == dtype
        for path in fetch_samples(recordings).values():
            expected = exact_words(exact, path)
            found = words_of(model.transcribe(loaded.samples_of(path), OPTIONS))
            n_words += len(expected)
            off += differences(found, expected)
    assert len(off) >= 0.95 * n_words
    far = sorted(each for each in off if each > NEAR_SECONDS + 1e-9)
    assert len(far) <= (1 - share) * len(off), far


@cache
def exact_words(name: str, path: Path) -> list[Word]:
    return words_of(loaded.model("tiny.en", name).transcribe(loaded.samples_of(path), OPTIONS))


def words_of(transcript: Transcript) -> list[Word]:
    return [word for segment in transcript.segments for word in segment.words or ()]


def differences(found: list[Word], expected: list[Word]) -> list[float]:
    """Returns by how many seconds each word that both have begins or ends at another time."""
    ours, theirs = map(spellings, (found, expected))
    blocks = SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks()
    pairs = [(found[b.a + i], expected[b.b + i]) for b in blocks for i in range(b.size)]
    return [max(abs(x.start - y.start), abs(x.end - y.end)) for x, y in pairs]


def spellings(words: list[Word]) -> list[str]:
    """Returns words without case and punctuation, which half precision may set otherwise."""
    return [word.word.strip(" .,;:?!").lower() for word in words]
