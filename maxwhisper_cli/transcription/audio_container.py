"""Decoding through FFmpeg's libraries, inside PyAV: video files, MP3, headerless formats.

Apart from `audio_decode`, since PyAV is the slowest to import of all that reads audio.
"""

from codecs import getincrementaldecoder
from collections.abc import Iterator
from typing import IO, Any, Final

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer

from maxwhisper_cli.transcription.audio_stream import AudioError, DecodedStream, Float32, Warn

_HEADERLESS: Final = frozenset({"g722", "g726", "g726le", "mulaw", "alaw", "gsm", "sln"})


def tag_options(pyav_version: str) -> dict[str, Any]:
    """Returns the arguments for `av.open` that let in files whose tags are not UTF-8.

    PyAV 19 always lets them in, and no longer has the argument.
    """
    major = int(pyav_version.partition(".")[0])
    return {"metadata_errors": "replace"} if major < 19 else {}


def decode_container(file: IO[bytes], name: str, warn: Warn) -> DecodedStream:
    """Opens the audio of a seekable binary file; arguments as `audio_decode.decode`.

    Raises:
        AudioError: The file is no readable audio or video, or has no sound.
    """
    return _from_container(_open_container(file, name), name, warn)


def _open_container(file: IO[bytes], name: str) -> InputContainer:
    # No protocol is allowed: a playlist then cannot open what it names, a file or an address.
    options = {"protocol_whitelist": "none"}
    try:
        container = av.open(file, "r", options=options, **tag_options(av.__version__))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise AudioError(
            f"{name} is not audio or video that can be read: it is something else, "
            "it is damaged, or its end is missing"
        ) from error
    _check_container(container, file, name)
    return container


def _check_container(container: InputContainer, file: IO[bytes], name: str) -> None:
    if not isinstance(container.streams.best("audio"), AudioStream):
        kind = "only video" if container.streams.video else "only text or data"
        raise AudioError(f"{name} has no sound: {kind}")
    if container.format.name in _HEADERLESS:
        position = file.tell()
        file.seek(0)
        sample = file.read(4096)
        file.seek(position)
        if _is_text(sample):
            raise AudioError(f"{name} is text, not audio, whatever its extension is")


def _is_text(sample: bytes) -> bool:
    try:
        text = getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return False
    return "\0" not in text


def _from_container(container: InputContainer, name: str, warn: Warn) -> DecodedStream:
    stream = container.streams.best("audio")
    assert isinstance(stream, AudioStream)
    seconds = None
    if stream.duration is not None and stream.time_base:  # unknown: None, from PyAV 19 on zero
        seconds = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        seconds = container.duration / av.time_base
    frames = _frames(container, stream, name, warn)
    # The first frame knows the rate: in HE-AAC the header gives half of it.
    first = _first_frame(frames, name)
    rate, n_channels = first.sample_rate, first.layout.nb_channels

    def blocks() -> Iterator[Float32]:
        n_read = 0
        for block in _converted(first, frames):
            n_read += len(block)
            yield block
        read_seconds = n_read / rate
        if seconds is not None and seconds - read_seconds > max(0.5, 0.05 * seconds):
            warn(
                f"{name} may be cut off: it announces {seconds:.1f} s, "
                f"{read_seconds:.1f} s could be read"
            )

    return DecodedStream(rate, n_channels, seconds, blocks(), container.close)


def _first_frame(frames: Iterator[AudioFrame], name: str) -> AudioFrame:
    for frame in frames:
        return frame
    raise AudioError(f"{name} has a sound track of which nothing can be decoded")


def _frames(
    container: InputContainer, stream: AudioStream, name: str, warn: Warn
) -> Iterator[AudioFrame]:
    n_damaged = 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
            decoded = packet.decode()
        except StopIteration:
            break
        except av.InvalidDataError:
            n_damaged += 1
            continue
        except av.FFmpegError as error:
            warn(f"{name} could not be read to its end: {error.strerror}")
            break
        for frame in decoded:
            if isinstance(frame, AudioFrame) and frame.samples:
                yield frame
    if n_damaged:
        warn(f"{name} is damaged; pieces of its sound that were left out: {n_damaged}")


def _converted(first: AudioFrame, rest: Iterator[AudioFrame]) -> Iterator[Float32]:
    """Converts every frame to the first one's rate and channels, as 32-bit floats."""
    rate, layout, n_channels = first.sample_rate, first.layout.name, first.layout.nb_channels
    setup = None
    converter = AudioResampler("flt", layout, rate)
    frame: AudioFrame | None = first
    while frame is not None:
        frame.pts = None
        wanted = (frame.format.name, frame.layout.name, frame.sample_rate)
        if setup not in (None, wanted):  # a recording may change its format midway
            yield from _arrays(converter.resample(None), n_channels)
            converter = AudioResampler("flt", layout, rate)
        setup = wanted
        yield from _arrays(converter.resample(frame), n_channels)
        frame = next(rest, None)
    yield from _arrays(converter.resample(None), n_channels)


def _arrays(frames: list[AudioFrame], n_channels: int) -> Iterator[Float32]:
    for frame in frames:
        yield frame.to_ndarray().reshape(-1, n_channels).astype(np.float32, copy=False)
