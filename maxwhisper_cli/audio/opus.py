"""Decoding of long Ogg Opus recordings by FFmpeg's build of libopus.

libsndfile's libopus gives the same samples (less than 1e-6 apart) in twice the time. Only whole
recordings without peculiarities are decoded here; at the first one this ends, and the caller goes
on with libsndfile, which knows what to say of it.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Final

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer

from maxwhisper_cli.audio.frames import JOINED_SAMPLES, FrameRun
from maxwhisper_cli.audio.stream import Float32

_PLAIN_ENDING: Final = b"\0\0\0"
"""End of a header of one or two channels (RFC 7845, section 5.1): no gain, mapping family 0."""


def decode_opus(file: IO[bytes], n_channels: int) -> Iterator[Float32]:
    """Yields samples, `[n_samples, n_channels]` each, up to the end or the first peculiarity.

    Args:
        file: Ogg file of one recording.
        n_channels: Channels of the recording.
    """
    file.seek(0)
    with suppress(av.FFmpegError, ValueError, OSError):
        container = av.open(file, "r", format="ogg", options={"protocol_whitelist": "none"})
        with container:
            stream = container.streams.best("audio")
            if isinstance(stream, AudioStream) and len(container.streams) == 1:
                yield from _decode(container, stream, n_channels)


def _decode(container: InputContainer, stream: AudioStream, n_channels: int) -> Iterator[Float32]:
    header = stream.codec_context.extradata or b""
    if not header.endswith(_PLAIN_ENDING):
        return
    decoder = av.CodecContext.create("libopus", "r")
    decoder.extradata = header
    decoder.options = {"request_sample_fmt": "flt"}  # else it rounds to 16 bits
    run = FrameRun()
    for packet in container.demux(stream):
        if packet.is_corrupt:
            return
        for frame in decoder.decode(packet):
            if not (
                isinstance(frame, AudioFrame)
                and frame.format.name == "flt"
                and frame.layout.nb_channels == n_channels
            ):
                return
            run.add(frame)
        if run.n_samples >= JOINED_SAMPLES:
            yield _taken(run, n_channels)
    if run.n_samples:
        yield _taken(run, n_channels)


def _taken(run: FrameRun, n_channels: int) -> Float32:
    frame = run.take()
    assert frame is not None
    return frame.to_ndarray().reshape(-1, n_channels).astype(np.float32, copy=False)
