"""Words on a GPU: float32 against the CPU, and captured graphs against single kernels.

On the CPU words equal openai-whisper's: tests/transcription/test_word_equality.py.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from implementations.alignment import AlignmentRequest, TokenAlignment
from implementations.max_graph.gpu.aligner import TextAligner
from implementations.max_graph.gpu.implementation import GpuFullMax
from maxwhisper_cli.transcription.mel import MelSpectrogram
from maxwhisper_cli.transcription.options import TranscribeOptions
from tests.support import loaded
from tests.support.hardware import needs_max_gpu
from tests.support.spoken_texts import spoken_requests
from tests.support.words import assert_words_agree

pytestmark = [pytest.mark.gpu, needs_max_gpu, pytest.mark.usefixtures("gpu_kernels")]

OPTIONS = TranscribeOptions(temperatures=(0.0,), beam_size=None, word_timestamps=True)
CLIPS = {"tiny.en": {"sonnet": None, "jfk": 5}, "base": {"spanish": None, "jfk": 5}}
"""Clips of a model with their beams: both vocabularies, two languages, several windows."""


@pytest.mark.parametrize("name", ["cuda", "hybrid", "full-max"])
@pytest.mark.parametrize(("model", "clips"), CLIPS.items(), ids=CLIPS)
def test_words_are_those_of_the_cpu(
    name: str,
    model: str,
    clips: dict[str, int | None],
    request: pytest.FixtureRequest,
) -> None:
    with loaded.load(model, name, device="cuda", dtype="float32") as on_gpu:
        for clip, beam_size in clips.items():
            path: Path = request.getfixturevalue(clip)
            options = replace(OPTIONS, beam_size=beam_size)
            ours = on_gpu.transcribe(loaded.samples_of(path), options)
            theirs = loaded.model(model, "cpu").transcribe(loaded.samples_of(path), options)
            assert_words_agree(ours, theirs)


@pytest.mark.parametrize("name", ["hybrid", "full-max"])
@pytest.mark.parametrize("beam_size", [None, 5], ids=["greedy", "beam5"])
def test_text_goes_on_after_given_tokens(name: str, beam_size: int | None, jfk: Path) -> None:
    """Such a window is decoded by the host's loop, whose sessions take the tokens as sampled."""
    options = TranscribeOptions(beam_size=beam_size, temperatures=(0.0,), prefix=" And so, my")
    with loaded.load("tiny.en", name, device="cuda", dtype="float32") as on_gpu:
        ours = on_gpu.transcribe(loaded.samples_of(jfk), options)
    expected = loaded.model("tiny.en", "cpu").transcribe(loaded.samples_of(jfk), options)
    assert [each.tokens for each in ours.segments] == [each.tokens for each in expected.segments]
    assert ours.text.startswith(" And so, my")


@pytest.fixture(scope="module")
def mel(sonnet: Path) -> np.ndarray:
    """A window of real speech, [1, 80, 3000]."""
    with MelSpectrogram([loaded.samples_of(sonnet)], 80) as spectrogram:
        return spectrogram.padded_window(0)[None]


@pytest.fixture(scope="module")
def texts(mel: np.ndarray) -> list[AlignmentRequest]:
    """The window's text, and others of one to 445 tokens: six lengths of graphs, some twice."""
    (spoken,) = spoken_requests(mel, (1500,))
    several = spoken.text * 8
    of_lengths = [
        replace(spoken, text=several[:n], n_positions=n_positions)
        for n, n_positions in [(1, 1500), (20, 700), (29, 1500), (30, 2), (100, 1500), (445, 1500)]
    ]
    return [spoken, *of_lengths, spoken, *of_lengths[::-1]]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_captured_graphs_align_as_single_kernels(
    dtype: str, mel: np.ndarray, texts: list[AlignmentRequest]
) -> None:
    with loaded.load("tiny.en", "full-max", device="cuda", dtype=dtype) as on_gpu:
        implementation = on_gpu.implementation
        assert isinstance(implementation, GpuFullMax)
        features = implementation.encode(mel)
        single = [implementation.align_batch(features, [text])[0] for text in texts]
        assert not captured_lengths(implementation), "no decoder lends its buffers yet"
        on_gpu.transcribe(np.zeros(16000, np.float32), OPTIONS)
        captured = [implementation.align_batch(features, [text])[0] for text in texts]
        assert captured_lengths(implementation) == [448, 128, 64, 32]
        assert_same(captured, single, dtype)


def captured_lengths(implementation: GpuFullMax) -> Sequence[int]:
    """Lengths of the texts whose graphs are kept."""
    aligner: TextAligner = implementation._aligner
    return [n_new for n_new, _ in aligner._captured]


def assert_same(
    found: Sequence[TokenAlignment], expected: Sequence[TokenAlignment], dtype: str
) -> None:
    """Equal in float32; in float16 matmuls of other shapes round otherwise."""
    near = 0 if dtype == "float32" else 2
    for ours, theirs in zip(found, expected, strict=True):
        assert np.mean(np.abs(ours.positions - theirs.positions) <= near) >= 0.99
        np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=0.03)
