"""Times of words in dtypes that round, against float32 on the CPU, on real speech.

99 % of the words that both have begin and end within 0.04 s of float32's in float16, 98 % in int8.
A word that was heard otherwise has no time to compare; at most one in twenty is.

In bfloat16, which has eight bits, one word in ten is heard otherwise, and windows begin elsewhere.
Both dtypes are compared on the same windows with the same text: 99 % of its tokens begin within
0.04 s of float32's.
"""

from difflib import SequenceMatcher
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from implementations.alignment import AlignmentRequest, TokenAlignment
from maxwhisper_cli.samples import fetch_samples
from maxwhisper_cli.transcription.mel import N_FRAMES, MelSpectrogram
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.segments import Transcript, Word
from tests.support import loaded
from tests.support.hardware import needs_max_gpu
from tests.support.spoken_texts import spoken_requests

OPTIONS = TranscribeOptions(
    language="en", temperatures=(0.0,), beam_size=None, word_timestamps=True
)
NEAR_SECONDS = 0.04
POSITIONS_PER_SECOND = 50
RECORDINGS = ("jfk", "sonnet", "telephone", "long")
"""Five minutes of English by several speakers, 629 words; on a CPU the first two, 130 words."""


@pytest.mark.gpu
@needs_max_gpu
@pytest.mark.parametrize("name", ["cuda", "hybrid", "full-max"])
def test_float16_on_a_gpu(name: str) -> None:
    assert_near(name, RECORDINGS, 0.99, device="cuda", dtype="float16", exact="cpu")


@pytest.mark.gpu
@needs_max_gpu
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["cuda", "hybrid", "full-max"])
def test_the_same_text_on_a_gpu(name: str, dtype: str) -> None:
    mel, requests, expected = exact_alignments()
    with loaded.load("tiny.en", name, device="cuda", dtype=dtype) as model:
        implementation = model.implementation
        assert implementation.dtype == dtype
        found = implementation.align_batch(implementation.encode(mel), requests)
    off = [np.abs(a.positions - b.positions) for a, b in zip(found, expected, strict=True)]
    assert np.mean(np.concatenate(off) <= NEAR_SECONDS * POSITIONS_PER_SECOND) >= 0.99


@cache
def exact_alignments() -> tuple[np.ndarray, list[AlignmentRequest], list[TokenAlignment]]:
    """Windows of the recordings, [n_windows, 80, 3000], their texts and float32's times."""
    windows, n_positions = [], []
    for path in fetch_samples(RECORDINGS).values():
        with MelSpectrogram([loaded.samples_of(path)], 80) as spectrogram:
            for first in range(0, spectrogram.n_content_frames, N_FRAMES):
                windows.append(spectrogram.padded_window(first))
                n_frames = min(N_FRAMES, spectrogram.n_content_frames - first)
                n_positions.append(n_frames // 2)
    mel = np.stack(windows)
    requests = spoken_requests(mel, n_positions)
    spoken = [index for index, request in enumerate(requests) if request.text]
    mel, requests = mel[spoken], [requests[index] for index in spoken]
    exact = loaded.model("tiny.en", "cpu").implementation
    return mel, requests, exact.align_batch(exact.encode(mel), requests)


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
