"""Rows on a GPU: the tokens of each window alone, whoever is beside it and whenever it comes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from implementations.errors import NonFiniteLogitsError
from implementations.implementation import Implementation
from implementations.request import DecodedWindow, DecodeRequest
from implementations.row_decoder import RowDecoder, RowResult, RowWindow
from implementations.session import AudioFeatures
from maxwhisper_cli.transcription.mel import MelSpectrogram
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from maxwhisper_cli.transcription.window_request import RequestBuilder
from tests.support import loaded
from tests.support.hardware import needs_max_gpu
from tests.support.spoken_texts import spoken_requests

pytestmark = [pytest.mark.gpu, needs_max_gpu, pytest.mark.usefixtures("gpu_kernels")]

N_WINDOWS, N_ROWS = 12, 5
TEXT = " From fairest creatures we desire increase, that thereby beauty might never die, but as"
OPTIONS = (
    TranscribeOptions(beam_size=None),
    TranscribeOptions(beam_size=None, sample_len=9),
    TranscribeOptions(beam_size=3, sample_len=30),
    TranscribeOptions(beam_size=None, without_timestamps=True),
    TranscribeOptions(temperatures=(0.4,), best_of=2, seed=5, sample_len=40),
    TranscribeOptions(beam_size=None, prefix=" But", sample_len=12),
)
"""The last goes through the generic loop."""


@pytest.fixture(scope="module", params=["float32", "float16", "bfloat16"])
def implementation(request: pytest.FixtureRequest, gpu_kernels: str) -> Implementation:
    return loaded.load("tiny.en", "full-max", device="cuda", dtype=request.param).implementation


@pytest.fixture(scope="module")
def mel(sonnet: Path) -> np.ndarray:
    """Stretches of speech, and one without numbers at the end."""
    with MelSpectrogram([loaded.samples_of(sonnet)], 80) as spectrogram:
        windows = [spectrogram.padded_window(at) for at in range(0, 200 * N_WINDOWS, 200)]
    return np.stack([*windows, np.full_like(windows[0], np.nan)])


@pytest.fixture(scope="module")
def windows(implementation: Implementation, mel: np.ndarray) -> list[AudioFeatures]:
    features = implementation.encode(mel)
    return [features[i] for i in range(len(features))]


def request_of(implementation: Implementation, index: int) -> DecodeRequest:
    """One of the options; every window has a prompt of another length."""
    options, tokenizer = OPTIONS[index % len(OPTIONS)], get_tokenizer(False)
    builder = RequestBuilder.create(implementation.dims, options, tokenizer)
    before = tokenizer.encode(TEXT)[: 2 * index]
    return builder.build(before, options.temperatures[0], (options.seed, 0, 0))


def decode(
    rows: RowDecoder, windows: Sequence[RowWindow], at_once: int
) -> dict[int, DecodedWindow | None]:
    """Gives rows to the windows as they become free, at most some at a time."""
    waiting, found = list(windows), dict[int, RowResult]()
    while len(found) < len(windows):
        n_new = min(at_once, rows.n_free, len(waiting))
        rows.add(waiting[:n_new])
        del waiting[:n_new]
        found |= {result.key: result for result in rows.advance()}
    assert rows.advance() == []
    assert rows.n_free == rows.n_rows
    return {key: result.decoded for key, result in found.items()}


def test_rows_are_what_windows_are_alone(
    implementation: Implementation, windows: list[AudioFeatures]
) -> None:
    """In float32; halves round prompts of few and of many rows in different kernels."""
    if implementation.dtype != "float32":
        pytest.skip("for equal tokens of different kernels")
    requests = [request_of(implementation, key) for key in range(N_WINDOWS)]
    waiting = [RowWindow(key, windows[key], request) for key, request in enumerate(requests)]
    with implementation.row_decoder(N_ROWS) as rows:
        found = decode(rows, waiting, N_ROWS)
    for key, request in enumerate(requests):
        alone = implementation.decode(windows[key], request)
        decoded = found[key]
        assert decoded is not None
        assert decoded.tokens == alone.tokens
        assert decoded.n_steps == alone.n_steps
        assert decoded.sum_logprob == pytest.approx(alone.sum_logprob, abs=1e-2)
        assert decoded.no_speech_prob == pytest.approx(alone.no_speech_prob, abs=1e-4)


@pytest.mark.parametrize("n_rows", [2, N_ROWS, 12])
def test_a_row_is_the_same_bits_whoever_is_beside_it(
    implementation: Implementation, windows: list[AudioFeatures], n_rows: int
) -> None:
    """In every dtype, for one number of rows: in another order, alone, and opened again."""
    requests = [request_of(implementation, key) for key in range(N_WINDOWS)]
    waiting = [RowWindow(key, windows[key], request) for key, request in enumerate(requests)]
    with implementation.row_decoder(n_rows) as rows:
        expected = decode(rows, waiting, n_rows)
    assert np.mean([len(each.tokens) > 5 for each in expected.values() if each]) > 0.5
    with implementation.row_decoder(n_rows) as rows:
        assert decode(rows, waiting[::-1], n_rows) == expected
    with implementation.row_decoder(n_rows) as rows:
        assert decode(rows, waiting, 1) == expected
        for window in waiting[:4]:
            assert decode(rows, [window], 1) == {window.key: expected[window.key]}


@pytest.mark.parametrize("index", [0, 2, 4], ids=["greedy", "beams", "samples"])
def test_a_row_without_numbers_fails_alone(
    implementation: Implementation, windows: list[AudioFeatures], index: int
) -> None:
    request = replace(request_of(implementation, index), max_new_tokens=8)
    keys = (0, N_WINDOWS, 1)
    with implementation.row_decoder(3) as rows:
        rows.add([RowWindow(key, windows[key], request) for key in keys])
        found: dict[int, RowResult] = {}
        while results := rows.advance():
            found |= {result.key: result for result in results}
        assert isinstance(found[N_WINDOWS].error, NonFiniteLogitsError)
        again = decode(rows, [RowWindow(key, windows[key], request) for key in (0, 1)], 2)
    for key in (0, 1):
        assert found[key].decoded == again[key]


def test_batches_and_alignment_go_on_beside_open_rows(
    implementation: Implementation, mel: np.ndarray
) -> None:
    features = implementation.encode(mel[:3])
    request = request_of(implementation, 0)
    texts = spoken_requests(mel[:2], (1500, 1500))
    before = implementation.decode_batch(features, [request] * 3)
    aligned = implementation.align_batch(features[0], texts[:1])
    parts = [features[i] for i in range(3)]
    with implementation.row_decoder(3) as rows:
        rows.add([RowWindow(key, part, request) for key, part in enumerate(parts)])
        assert implementation.decode_batch(features, [request] * 3) == before
        found: dict[int, RowResult] = {}
        while results := rows.advance():
            found |= {result.key: result for result in results}
    (after,) = implementation.align_batch(parts[0], texts[:1])
    np.testing.assert_array_equal(after.positions, aligned[0].positions)
    if implementation.dtype == "float32":
        tokens = [found[key].decoded for key in range(3)]
        assert [each and each.tokens for each in tokens] == [each.tokens for each in before]


def test_closed_rows_can_be_opened_again(
    implementation: Implementation, windows: list[AudioFeatures]
) -> None:
    request = request_of(implementation, 0)
    rows = implementation.row_decoder(2)
    rows.add([RowWindow(0, windows[0], request), RowWindow(1, windows[1], request)])
    assert rows.n_free == 0
    rows.close()
    rows.close()
    assert rows.n_free == 2
    again = implementation.row_decoder(2)
    (decoded,) = decode(again, [RowWindow(7, windows[0], request)], 1).values()
    other = implementation.row_decoder(2)
    assert other is not again, "rows in use are not lent twice"
    assert decode(other, [RowWindow(7, windows[0], request)], 1) == {7: decoded}
    again.close()
    other.close()
