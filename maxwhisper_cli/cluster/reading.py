"""Reading of recordings on other machines: a task reads and sends samples of 16 bits.

A worker reads by itself where nothing else does; its samples are rounded too, so that records do
not depend on where a recording was read. Channels that are split are always read by the worker.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from maxwhisper_cli.audio.array import from_samples
from maxwhisper_cli.audio.reader import Audio, AudioError, open_audio
from maxwhisper_cli.audio.sixteen_bit import Int16, from_16_bit, to_16_bit
from maxwhisper_cli.audio.stream import Float32
from maxwhisper_cli.system_errors import SYSTEM_ERRORS, refusal
from weights.errors import MaxWhisperError

if TYPE_CHECKING:
    from maxwhisper_cli.audio.reader import ReadingOptions
    from maxwhisper_cli.recording import RecordingRequest


_BLOCK_SAMPLES: Final = 2**16


@dataclass(frozen=True, slots=True)
class Samples:
    """A recording at 16 kHz, mono, as it is sent."""

    samples: Int16
    warnings: tuple[str, ...]
    error: str | None = None
    """Reason why it cannot be read; then there are no samples."""


ReadElsewhere = Callable[["RecordingRequest", "ReadingOptions"], Samples]
"""Reads a recording on whatever machine, and waits for it."""


def read_samples(request: "RecordingRequest", reading: "ReadingOptions") -> Samples:
    """Reads all that is to be transcribed of a recording."""
    try:
        with request.open() as source, _opened(source, reading) as audio:
            name, audio.n_threads = audio.name, 1  # as a worker reads it
            blocks = iter(audio) if request.excerpt is None else request.excerpt.of(audio)
            parts = [to_16_bit(block) for block in blocks]
            samples = np.concatenate(parts) if parts else np.zeros(0, np.int16)
            warnings = tuple(each.replace(name, request.name) for each in audio.warnings)
            return Samples(samples, warnings)
    except MaxWhisperError as error:
        return Samples(np.zeros(0, np.int16), (), str(error))
    except SYSTEM_ERRORS as error:
        return Samples(np.zeros(0, np.int16), (), str(refusal(error, request.name)))


@contextmanager
def opened_elsewhere(
    request: "RecordingRequest", reading: "ReadingOptions", read: ReadElsewhere
) -> Iterator[Audio]:
    """Gives a recording that is read elsewhere, once all of it is there.

    Raises:
        AudioError: It cannot be read.
    """
    found = read(request, reading)
    if found.error is not None:
        raise AudioError(found.error)
    with _SentAudio(request.name, found) as audio:
        yield audio


class _SentAudio(Audio):
    """Samples that were read, with all that there is to say of them."""

    def __init__(self, name: str, found: Samples) -> None:
        self._samples = from_16_bit(found.samples)
        stream = from_samples(self._samples, None)
        warnings = list(found.warnings)
        super().__init__(name, stream, 0, warnings=warnings, resources=ExitStack())

    def __iter__(self) -> Iterator[Float32]:
        """Yields the samples in blocks."""
        for start in range(0, len(self._samples), _BLOCK_SAMPLES):
            yield self._samples[start : start + _BLOCK_SAMPLES]


@contextmanager
def _opened(source: object, reading: "ReadingOptions") -> Iterator[Audio]:
    if isinstance(source, Audio):
        yield source
        return
    with open_audio(source, **reading) as audio:  # type: ignore[arg-type]
        yield audio
