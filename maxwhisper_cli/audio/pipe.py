"""Decoding of a container that is still being written, frame by frame, from front to back.

Every frame is handed on as it comes, where `container` joins frames and looks at the whole file. A
container whose index is at its end cannot be read in this way.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer

from maxwhisper_cli.audio.container import tag_options
from maxwhisper_cli.audio.convert import Converter, Unpacker
from maxwhisper_cli.audio.stream import AudioError, Float32, Warn

_OPTIONS: Final = {
    "protocol_whitelist": "none",  # a playlist cannot open what it names
    "analyzeduration": "500000",
    "probesize": "65536",
}
_MAX_DAMAGED: Final = 20
"""Packets in a row that cannot be decoded, from which on it is no audio."""


@dataclass(frozen=True, slots=True)
class PipeStream:
    """Audio of a pipe: its rate, and blocks `[n_samples, n_channels]` as they come."""

    sample_rate: int
    blocks: Iterator[Float32]
    container: InputContainer

    def close(self) -> None:
        """Closes the container."""
        self.container.close()


class Pipe(Protocol):
    """A file that can be read from front to back."""

    def read(self, size: int, /) -> bytes:
        """Returns up to so many bytes, as soon as there are some; none at the end."""


def decode_pipe(file: Pipe, name: str, warn: Warn) -> PipeStream:
    """Opens a pipe; waits until its format shows.

    Raises:
        AudioError: It is no audio or video that can be read from front to back.
    """
    try:
        container = av.open(file, "r", options=dict(_OPTIONS), **tag_options(av.__version__))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise AudioError(
            f"{name} is not audio or video that can be read as it comes: it is something else, "
            "it is damaged, or its format has an index at its end"
        ) from error
    stream = container.streams.best("audio")
    if not isinstance(stream, AudioStream):
        container.close()
        raise AudioError(f"{name} has no sound")
    frames = _frames(container, stream, name, warn)
    first = next(frames, None)
    if first is None:
        container.close()
        raise AudioError(f"{name} has a sound track of which nothing can be decoded")
    return PipeStream(first.sample_rate, _blocks(first, frames), container)


def _blocks(first: AudioFrame, frames: Iterator[AudioFrame]) -> Iterator[Float32]:
    unpacker, converter = Unpacker(), Converter(first.sample_rate, first.layout.nb_channels)
    yield converter.convert(unpacker.to_float32(first), first.sample_rate)
    for frame in frames:
        yield converter.convert(unpacker.to_float32(frame), frame.sample_rate)
    yield converter.finish()


def _frames(
    container: InputContainer, stream: AudioStream, name: str, warn: Warn
) -> Iterator[AudioFrame]:
    n_damaged = n_in_a_row = 0
    for decoded in _decoded(container, stream):
        if decoded is None:
            n_damaged, n_in_a_row = n_damaged + 1, n_in_a_row + 1
            if n_in_a_row >= _MAX_DAMAGED:
                raise AudioError(f"{name} is not audio, or no longer: nothing can be decoded")
        elif decoded.samples and decoded.sample_rate:
            n_in_a_row = 0
            yield decoded
    if n_damaged:
        warn(f"{name} is damaged; pieces of its sound that were left out: {n_damaged}")


def _decoded(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame | None]:
    """Yields frames, and None for each packet that is damaged."""
    packets = container.demux(stream)
    while True:
        try:
            packet: Any = next(packets, None)
            if packet is None:
                return
            frames = stream.codec_context.decode(packet)
        except av.EOFError:
            return
        except av.FFmpegError:
            yield None
            continue
        yield from frames
