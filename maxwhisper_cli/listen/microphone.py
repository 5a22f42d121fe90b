"""Live audio from a microphone, through PortAudio; the only module that imports sounddevice."""

from collections.abc import Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import ModuleType
from typing import Any, Final

import numpy as np

from maxwhisper_cli.audio.stream import AudioError, Float32
from maxwhisper_cli.listen.source import LiveBlocks, ThreadedSource
from maxwhisper_cli.transcription.mel import SAMPLE_RATE
from weights.whole_number import whole_number

_BLOCK_SECONDS: Final = 0.02
_STALLED_SECONDS: Final = 5.0


class MicrophoneError(AudioError):
    """There is no microphone, or it cannot be used."""


@dataclass(frozen=True, slots=True)
class Microphone:
    """A device that records."""

    number: int
    name: str
    host: str
    """System of sound that offers it, such as ALSA."""
    n_channels: int
    sample_rate: int
    """Rate that it prefers, in Hz."""
    is_default: bool


def list_microphones() -> list[Microphone]:
    """Returns the devices that record, in PortAudio's order.

    Raises:
        MicrophoneError: sounddevice or PortAudio is not installed.
    """
    sounddevice = _sounddevice()
    hosts = sounddevice.query_hostapis()
    default = sounddevice.default.device[0]
    return [
        Microphone(
            number=number,
            name=str(device["name"]),
            host=str(hosts[device["hostapi"]]["name"]),
            n_channels=int(device["max_input_channels"]),
            sample_rate=int(device["default_samplerate"]),
            is_default=number == default,
        )
        for number, device in enumerate(sounddevice.query_devices())
        if device["max_input_channels"] > 0
    ]


def open_microphone(device: str | None) -> ThreadedSource:
    """Opens a microphone, which records from now on.

    Args:
        device: Number, name or a part of the name; None is the system's default.

    Raises:
        MicrophoneError: There is no such device, or it cannot be used.
    """
    sounddevice = _sounddevice()
    number = None if device is None else whole_number(device)
    chosen = device if number is None else number
    try:
        found: Any = sounddevice.query_devices(chosen, "input")
        rate = _sample_rate(sounddevice, chosen, int(found["default_samplerate"]))
        queue: SimpleQueue[Float32] = SimpleQueue()

        def take(data: Any, _n_frames: int, _time: object, _status: object) -> None:  # noqa: ANN401
            queue.put(np.frombuffer(data, np.float32).copy())

        stream = sounddevice.RawInputStream(
            samplerate=rate,
            device=chosen,
            channels=1,
            dtype="float32",
            blocksize=round(rate * _BLOCK_SECONDS),
            callback=take,
        )
        stream.start()
    except (sounddevice.PortAudioError, ValueError) as error:
        which = "the default microphone" if device is None else f"microphone {device!r}"
        raise MicrophoneError(
            f"{which} cannot be used: {_reason(error)}; --list-devices shows what there is"
        ) from error
    name = str(found["name"])
    return ThreadedSource(
        name, lambda: LiveBlocks(rate, _recorded(queue, stream, name)), is_live=True
    )


def _recorded(queue: SimpleQueue[Float32], stream: Any, name: str) -> Iterator[Float32]:  # noqa: ANN401
    """Yields what is recorded."""
    while True:
        try:
            yield queue.get(timeout=_STALLED_SECONDS)
        except Empty:
            if not stream.active:
                raise MicrophoneError(f"{name} no longer records: was it unplugged?") from None


def _sample_rate(sounddevice: ModuleType, device: int | str | None, preferred: int) -> int:
    """Returns 16 kHz where the device has that, else the rate that it prefers."""
    try:
        sounddevice.check_input_settings(
            device=device, channels=1, dtype="float32", samplerate=SAMPLE_RATE
        )
    except (sounddevice.PortAudioError, ValueError):
        return preferred
    return SAMPLE_RATE


def _reason(error: Exception) -> str:
    text = str(error.args[0] if error.args else error)
    return text.splitlines()[0] if text else type(error).__name__


def _sounddevice() -> ModuleType:
    try:
        import sounddevice
    except ImportError as error:
        raise MicrophoneError(
            "a microphone needs the package sounddevice: pip install 'maxwhisper[listen]', or "
            "pipe audio in: arecord -f S16_LE -r 16000 | maxwhisper listen -"
        ) from error
    except OSError as error:
        raise MicrophoneError(
            "a microphone needs PortAudio, which is not installed: apt install libportaudio2, or "
            "your system's package of that library"
        ) from error
    module: ModuleType = sounddevice
    return module
