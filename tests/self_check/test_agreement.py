"""The check's core on the CPU: `cpu` in half precision passes, implementations that err do not."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from implementations.errors import ImplementationFailedError, NonFiniteLogitsError
from implementations.implementation import Implementation
from implementations.request import DecodedWindow, DecodeRequest
from implementations.session import AudioFeatures, FloatArray
from maxwhisper_cli.self_check import agreement
from maxwhisper_cli.self_check.agreement import find_difference
from maxwhisper_cli.self_check.speech import speech_samples
from tests.support import loaded


class Wrapped:
    """An implementation that passes all on to `cpu`."""

    def __init__(self, inner: Implementation) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class ShiftedFeatures(Wrapped):
    """Its encoder is off by a hundredth."""

    def encode(self, mel: FloatArray) -> AudioFeatures:
        features: Any = self._inner.encode(mel)
        features.tensor = features.tensor * 1.01
        return features


class WrongToken(Wrapped):
    """The decoder takes another token in one place, of greedy decoding alone."""

    def __init__(self, inner: Implementation, at: int) -> None:
        super().__init__(inner)
        self._at = at

    def decode(self, features: AudioFeatures, request: DecodeRequest) -> DecodedWindow:
        decoded = self._inner.decode(features, request)
        return decoded if request.search.is_beam_search else wrong(decoded, self._at)

    def decode_batch(
        self, features: AudioFeatures, requests: Sequence[DecodeRequest]
    ) -> list[DecodedWindow]:
        one = self._inner.decode(features[0], requests[0])
        return [one] * len(requests)


class WrongBeams(Wrapped):
    """Beam search finds a worse text than it could."""

    def decode(self, features: AudioFeatures, request: DecodeRequest) -> DecodedWindow:
        decoded = self._inner.decode(features, request)
        return wrong(decoded, 2) if request.search.is_beam_search else decoded


class WrongInBatches(WrongToken):
    """The seventh window of a batch is another one."""

    def decode(self, features: AudioFeatures, request: DecodeRequest) -> DecodedWindow:
        return self._inner.decode(features, request)

    def decode_batch(
        self, features: AudioFeatures, requests: Sequence[DecodeRequest]
    ) -> list[DecodedWindow]:
        batch = super().decode_batch(features, requests)
        return [*batch[:6], wrong(batch[6], self._at), *batch[7:]]


class Failing(WrongToken):
    """Batches end in an error."""

    def __init__(self, inner: Implementation, error: Exception) -> None:
        super().__init__(inner, 0)
        self._error = error

    def decode(self, features: AudioFeatures, request: DecodeRequest) -> DecodedWindow:
        return self._inner.decode(features, request)

    def decode_batch(
        self, features: AudioFeatures, requests: Sequence[DecodeRequest]
    ) -> list[DecodedWindow]:
        raise self._error


def wrong(window: DecodedWindow, at: int) -> DecodedWindow:
    if at >= len(window.tokens):
        return window
    tokens = (*window.tokens[:at], 1234, *window.tokens[at + 1 :])
    return DecodedWindow(tokens, window.sum_logprob - 9 * len(tokens), 0.0, window.n_steps)


@pytest.fixture(scope="module")
def cpu() -> Iterator[Implementation]:
    """`cpu` with tiny.en; it computes window and texts once, since all of its are the same."""
    inner = loaded.load("tiny.en", "cpu").implementation
    with pytest.MonkeyPatch.context() as patch:
        window = agreement._mel(inner)
        features: Any = inner.encode(window)
        decoded: dict[DecodeRequest, DecodedWindow] = {}
        decode = type(inner).decode

        def encode_once(mel: FloatArray) -> AudioFeatures:
            assert (mel == window).all()
            return type(features)(features.tensor.expand(len(mel), -1, -1))

        def decode_once(features: AudioFeatures, request: DecodeRequest) -> DecodedWindow:
            if request not in decoded:
                decoded[request] = decode(inner, features, request)
            return decoded[request]

        patch.setattr(agreement, "_mel", lambda _: window)
        patch.setattr(inner, "encode", encode_once)
        patch.setattr(inner, "decode", decode_once)
        yield inner


def difference(ours: Any, cpu: Implementation) -> str | None:
    return find_difference(ours, cpu)


def test_the_sound_is_the_same_everywhere() -> None:
    samples = speech_samples()
    assert samples.dtype == np.float32
    assert len(samples) == 60 * 3840
    assert float(np.abs(samples).max()) == pytest.approx(0.3)
    spectrum = np.abs(np.fft.rfft(samples[:16000]))
    assert spectrum[80:3500].sum() > 10 * spectrum[4500:].sum()  # as of a voice


def test_the_same_computation_agrees(cpu: Implementation) -> None:
    assert difference(WrongToken(cpu, 99), cpu) is None


def test_an_encoder_that_errs(cpu: Implementation) -> None:
    assert difference(ShiftedFeatures(cpu), cpu) == "its encoder is off by 1.0e-02 of the output"


@pytest.mark.parametrize("at", [0, 1, 7])
def test_a_wrong_token(cpu: Implementation, at: int) -> None:
    found = str(difference(WrongToken(cpu, at), cpu))
    assert found.startswith(f"decoding greedily, token {at + 1} is 1234 instead of ")


def test_wrong_beams(cpu: Implementation) -> None:
    assert difference(WrongBeams(cpu), cpu) == "with 5 beams, tokens differ from the 3. on"


def test_a_wrong_window_of_a_batch(cpu: Implementation) -> None:
    found = str(difference(WrongInBatches(cpu, 3), cpu))
    assert found.startswith("decoding in a batch of 8, token 4 is 1234 instead of ")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NonFiniteLogitsError(), "its logits are not numbers (NaN)"),
        (RuntimeError("CUDA call failed:\nat"), "it fails (CUDA call failed:)"),
        (ImplementationFailedError("8 windows do not fit"), None),
    ],
)
def test_errors(cpu: Implementation, error: Exception, expected: str | None) -> None:
    assert difference(Failing(cpu, error), cpu) == expected


def test_where_the_reference_is_undecided_rounding_decides(
    cpu: Implementation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement, "_UNDECIDED", {"float32": 1e9})
    assert difference(WrongToken(cpu, 3), cpu) is None
