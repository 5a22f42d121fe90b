"""Rows of windows, held to every implementation: each decodes as it does alone.

Tokens are equal. Log-probabilities are the same float32 numbers wherever both ways compute them by
the same sums; else 1e-3 allows another order of summing over some ten tokens.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from implementations.errors import NonFiniteLogitsError
from implementations.implementation import Implementation
from implementations.request import DecodedWindow, DecodeRequest
from implementations.row_decoder import (
    RowDecoder,
    RowResult,
    RowWindow,
    SerialRowDecoder,
    UnwantedWindowError,
)
from implementations.session import AudioFeatures
from maxwhisper_cli.transcription.mel import MelSpectrogram
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from maxwhisper_cli.transcription.window_request import RequestBuilder
from tests.support import loaded
from tests.support.hardware import IMPLEMENTATIONS, skip_if_unavailable

TOKENIZER = get_tokenizer(False)
TEXT_BEFORE = TOKENIZER.encode(" From fairest creatures we desire increase, that thereby beauty")
N_ROWS = 3


@pytest.fixture(scope="module", params=IMPLEMENTATIONS)
def implementation(request: pytest.FixtureRequest) -> Implementation:
    """All but the one of the contract's tests, whose rows are those of `cpu`."""
    skip_if_unavailable(request.param)
    return loaded.model("tiny.en", request.param).implementation


@pytest.fixture(scope="module")
def mel(jfk: Path, sonnet: Path) -> np.ndarray:
    """Two windows of real speech, and one without numbers, [3, 80, 3000]."""
    with MelSpectrogram([loaded.samples_of(jfk)], 80) as spectrogram:
        first = spectrogram.padded_window(0, spectrogram.n_content_frames)
    with MelSpectrogram([loaded.samples_of(sonnet)], 80) as spectrogram:
        second = spectrogram.padded_window(0)
    return np.stack([first, second, np.full_like(first, np.nan)])


def request_of(implementation: Implementation, n_before: int, **options: Any) -> DecodeRequest:
    """A request with some text before; few tokens, as some implementations decode in series."""
    chosen = replace(TranscribeOptions(beam_size=None, sample_len=14), **options)
    builder = RequestBuilder.create(implementation.dims, chosen, TOKENIZER)
    return builder.build(TEXT_BEFORE[:n_before], chosen.temperatures[0], (chosen.seed, 0, 0))


def mixed_requests(implementation: Implementation) -> list[tuple[int, DecodeRequest]]:
    """Windows by index, each with a request of another kind."""
    decodes_in_series = type(implementation.row_decoder(2)) is SerialRowDecoder
    few = 3 if decodes_in_series else 14 if implementation.name == "full-max" else 7
    requests = [
        (0, request_of(implementation, 0, sample_len=few)),
        (1, request_of(implementation, 9, sample_len=few)),
        (0, request_of(implementation, 0, beam_size=3, sample_len=few)),
        (1, request_of(implementation, 5, temperatures=(0.6,), seed=3, best_of=2, sample_len=few)),
        (0, request_of(implementation, 3, without_timestamps=True, sample_len=2)),
        (0, request_of(implementation, 12, temperatures=(0.4,), sample_len=few)),
        (1, request_of(implementation, 2, suppress_tokens=(13, 11), sample_len=few)),
    ]
    return requests[:4] if decodes_in_series else requests


def decode_in_rows(
    rows: RowDecoder, windows: Sequence[RowWindow], *, at_once: int
) -> dict[int, RowResult]:
    """Adds windows as rows become free, at most some at a time, and gives results by key."""
    waiting = list(windows)
    found: dict[int, RowResult] = {}
    while len(found) < len(windows):
        n_new = min(at_once, rows.n_free, len(waiting))
        if n_new:
            rows.add(waiting[:n_new])
            waiting = waiting[n_new:]
        for result in rows.advance():
            assert result.key not in found
            found[result.key] = result
    assert rows.advance() == []
    assert rows.n_free == rows.n_rows
    return found


@pytest.fixture(scope="module")
def features(implementation: Implementation, mel: np.ndarray) -> AudioFeatures:
    return implementation.encode(mel)


def test_each_row_decodes_as_alone(implementation: Implementation, features: AudioFeatures) -> None:
    requests = mixed_requests(implementation)
    alone = [implementation.decode(features[window], request) for window, request in requests]
    windows = [
        RowWindow(key, features[window], request) for key, (window, request) in enumerate(requests)
    ]
    orders = ((windows, N_ROWS), (windows[::-1], 1))
    is_serial = type(implementation.row_decoder(2)) is SerialRowDecoder
    for order, at_once in orders[: 1 if is_serial else None]:
        with implementation.row_decoder(N_ROWS) as rows:
            found = decode_in_rows(rows, order, at_once=at_once)
        for key, expected in enumerate(alone):
            decoded = found[key].decoded
            assert decoded is not None
            assert_same(decoded, expected)


def assert_same(decoded: DecodedWindow, expected: DecodedWindow) -> None:
    assert decoded.tokens == expected.tokens
    assert decoded.n_steps == expected.n_steps
    assert decoded.sum_logprob == pytest.approx(expected.sum_logprob, abs=1e-3)
    assert decoded.no_speech_prob == pytest.approx(expected.no_speech_prob, abs=1e-4)


@pytest.mark.parametrize(
    "options",
    [{}, {"beam_size": 2}, {"temperatures": (0.6,), "best_of": 2}],
    ids=["greedy", "beams", "samples"],
)
def test_a_row_without_numbers_fails_alone(
    implementation: Implementation, features: AudioFeatures, options: dict[str, Any]
) -> None:
    request = request_of(implementation, 0, sample_len=4, **options)
    windows = [RowWindow(key, features[key], request) for key in (2, 1, 0)]
    with implementation.row_decoder(N_ROWS) as rows:
        found = decode_in_rows(rows, windows, at_once=N_ROWS)
    assert found[2].decoded is None
    assert isinstance(found[2].error, NonFiniteLogitsError)
    for key in (0, 1):
        decoded = found[key].decoded
        assert decoded is not None
        assert_same(decoded, implementation.decode(features[key], request))


def test_a_row_that_nobody_waits_for_is_freed(
    implementation: Implementation, features: AudioFeatures
) -> None:
    """It ends with an error after a few steps, and its neighbour goes on."""
    request = request_of(implementation, 0, sample_len=4)
    answers = iter([True])
    unwanted = RowWindow(5, features[1], request, lambda: next(answers, False))
    with implementation.row_decoder(N_ROWS) as rows:
        found = decode_in_rows(rows, [unwanted, RowWindow(6, features[0], request)], at_once=2)
        is_serial = type(rows) is SerialRowDecoder
    assert found[6].decoded is not None
    assert_same(found[6].decoded, implementation.decode(features[0], request))
    if not is_serial:  # which asks once, before it begins
        assert isinstance(found[5].error, UnwantedWindowError)


def test_closed_rows_are_free_and_keep_nothing(
    implementation: Implementation, features: AudioFeatures
) -> None:
    request = request_of(implementation, 0, sample_len=3)
    rows = implementation.row_decoder(2)
    rows.add([RowWindow(0, features[0], request), RowWindow(1, features[1], request)])
    assert rows.n_free == 0
    rows.close()
    rows.close()
    assert rows.n_free == 2
    assert rows.advance() == []
