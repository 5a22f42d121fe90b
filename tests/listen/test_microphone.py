"""Microphones: what is said where there is none, and samples as PortAudio hands them out.

The machine of a test has no microphone: a module with sounddevice's functions stands in for it.
`listen` was tried with the real one on ALSA, whose recording was a file.
"""

import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from maxwhisper_cli.listen.microphone import (
    Microphone,
    MicrophoneError,
    list_microphones,
    open_microphone,
)


class PortAudioError(Exception):
    """Stands for sounddevice's."""


class Stream:
    """A stream that hands out a second of a ramp."""

    active = True

    def __init__(self, **settings: object) -> None:
        self.settings = settings

    def start(self) -> None:
        ramp = np.linspace(-1, 1, int(self.settings["samplerate"]), dtype=np.float32)  # type: ignore[call-overload]
        step = int(self.settings["blocksize"])  # type: ignore[call-overload]
        callback = self.settings["callback"]

        def run() -> None:
            for first in range(0, len(ramp), step):
                callback(ramp[first : first + step].tobytes(), step, None, None)  # type: ignore[operator]

        threading.Thread(target=run, daemon=True).start()


def devices(number: int | str | None = None, kind: str | None = None) -> object:
    """Stands for sounddevice.query_devices."""
    known = [
        {"name": "HDMI", "hostapi": 0, "max_input_channels": 0, "default_samplerate": 44100.0},
        {"name": "Mic", "hostapi": 0, "max_input_channels": 2, "default_samplerate": 48000.0},
    ]
    if kind is None:
        return known
    if number in {None, 1, "Mic"}:
        return known[1]
    raise ValueError(f"No input device matching {number!r}")


@pytest.fixture
def has_microphone(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(**settings: object) -> None:
        if settings["samplerate"] == 16000:
            raise PortAudioError("Invalid sample rate")

    module = SimpleNamespace(
        PortAudioError=PortAudioError,
        RawInputStream=Stream,
        query_devices=devices,
        query_hostapis=lambda: [{"name": "ALSA"}],
        check_input_settings=check,
        default=SimpleNamespace(device=(1, 0)),
    )
    monkeypatch.setitem(sys.modules, "sounddevice", module)


@pytest.mark.usefixtures("has_microphone")
def test_devices_that_record_are_listed() -> None:
    assert list_microphones() == [Microphone(1, "Mic", "ALSA", 2, 48000, is_default=True)]


@pytest.mark.usefixtures("has_microphone")
def test_samples_come_at_16_khz() -> None:
    source = open_microphone(None)
    assert source.is_live
    found = np.empty(0, np.float32)
    while len(found) < 15000:  # the resampler still holds some
        block = source.read(5)
        assert block is not None
        found = np.concatenate([found, block])
    expected = np.linspace(-1, 1, 16000, dtype=np.float32)[100:14900]
    np.testing.assert_allclose(found[100:14900], expected, atol=0.01)


@pytest.mark.usefixtures("has_microphone")
def test_a_device_that_is_not_there_is_an_error() -> None:
    with pytest.raises(MicrophoneError) as caught:
        open_microphone("Webcam")
    assert str(caught.value) == (
        "microphone 'Webcam' cannot be used: No input device matching 'Webcam'; --list-devices "
        "shows what there is"
    )


def test_without_the_package_the_message_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MicrophoneError, match="pip install 'maxwhisper\\[listen\\]', or pipe"):
        list_microphones()
