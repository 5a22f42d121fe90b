"""Rows of several windows on the CPU: bit for bit what each window gives alone.

So `whisper_cpu_decode_rows` is held to `whisper_cpu_decode_step`, which is held to numpy.
"""

from pathlib import Path

import numpy as np
import pytest

from implementations.implementation import Implementation
from implementations.request import DecodedWindow, DecodeRequest
from implementations.row_decoder import RowWindow
from implementations.session import AudioFeatures
from maxwhisper_cli.transcription.mel import MelSpectrogram
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from maxwhisper_cli.transcription.window_request import RequestBuilder
from tests.support import loaded

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")
pytestmark = pytest.mark.max

N_WINDOWS = 9
N_DISTINCT = 4
TEXT = " From fairest creatures we desire increase, that thereby beauty might never die, but as"
OPTIONS = (
    TranscribeOptions(beam_size=None, sample_len=20),
    TranscribeOptions(beam_size=None, sample_len=9, without_timestamps=True),
    TranscribeOptions(beam_size=3, sample_len=12),
    TranscribeOptions(temperatures=(0.5,), best_of=3, seed=5, sample_len=12),
)


@pytest.fixture(scope="module", params=["float32", "int8"])
def implementation(request: pytest.FixtureRequest) -> Implementation:
    return loaded.load("tiny.en", "full-max", dtype=request.param).implementation


@pytest.fixture(scope="module")
def windows(implementation: Implementation, sonnet: Path) -> list[AudioFeatures]:
    """Features of some windows of speech in turn; no two neighbours are the same."""
    with MelSpectrogram([loaded.samples_of(sonnet)], 80) as mel:
        starts = range(0, 600 * N_DISTINCT, 600)
        features = implementation.encode(np.stack([mel.padded_window(at) for at in starts]))
    return [features[i % N_DISTINCT] for i in range(N_WINDOWS)]


def request_of(implementation: Implementation, index: int) -> DecodeRequest:
    """One of the options; every window has a prompt of another length."""
    options, tokenizer = OPTIONS[index % len(OPTIONS)], get_tokenizer(False)
    builder = RequestBuilder.create(implementation.dims, options, tokenizer)
    before = tokenizer.encode(TEXT)[: 3 * index]
    return builder.build(before, options.temperatures[0], (options.seed, 0, 0))


def test_rows_are_the_same_bits_as_alone(
    implementation: Implementation, windows: list[AudioFeatures]
) -> None:
    requests = [request_of(implementation, index) for index in range(N_WINDOWS)]
    alone = [implementation.decode(*both) for both in zip(windows, requests, strict=True)]
    assert np.mean([len(window.tokens) > 3 for window in alone]) > 0.5
    for n_rows in (2, 4, N_WINDOWS):
        waiting = [
            RowWindow(key, *both) for key, both in enumerate(zip(windows, requests, strict=True))
        ]
        found: dict[int, DecodedWindow | None] = {}
        with implementation.row_decoder(n_rows) as rows:
            while len(found) < N_WINDOWS:
                n_new = min(rows.n_free, len(waiting))
                rows.add(waiting[:n_new])
                del waiting[:n_new]
                found |= {result.key: result.decoded for result in rows.advance()}
        assert [found[key] for key in range(N_WINDOWS)] == alone


def test_hypotheses_that_have_ended_take_no_row(
    implementation: Implementation, windows: list[AudioFeatures]
) -> None:
    """Samples of one window end at different steps."""
    options = TranscribeOptions(temperatures=(0.8,), best_of=5, sample_len=40)
    builder = RequestBuilder.create(implementation.dims, options, get_tokenizer(False))
    request = builder.build([], 0.8, (1, 0, 0))
    with implementation.row_decoder(2) as rows:
        rows.add([RowWindow(0, windows[8], request)])
        (result,) = rows.advance()
    assert result.decoded == implementation.decode(windows[8], request)
