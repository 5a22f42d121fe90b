"""Packets of one track as decoded frames; damage is counted and does not end them.

The loop runs once for each packet, thousands of times a minute: what it does, all files pay for.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

from maxwhisper_cli.audio.stream import Warn
from maxwhisper_cli.audio.timeline import FROM_ZERO, WITH_TIMES, Timed

if TYPE_CHECKING:
    AudioPacket = Packet[Any]  # no generic before PyAV 17

_TAGS: Final = frozenset({b"ID3", b"TAG", b"APE"})
"""Tags that may lie between joined MP3 files, where FFmpeg expects a frame."""
_MAX_FAILURES: Final = 100  # of demuxing, one after the other
_JOINED_BYTES: Final = 65536  # of PCM: containers hand it out in very small pieces


class PacketDecoder:
    """Decoder of one track of one container."""

    n_damaged: int
    """Number of pieces that could not be decoded, so far."""
    n_decoded: int
    """Number of frames that could, so far."""

    def __init__(
        self,
        container: InputContainer,
        stream: AudioStream,
        kind: str,
        name: str,
        warn: Warn,
    ) -> None:
        self._container = container
        self._stream = stream
        self._name = name
        self._warn = warn
        self._kind = kind
        self.n_damaged = 0
        self.n_decoded = 0

    def frames(self) -> Iterator[Timed]:
        """Yields the frames that hold samples, in order, with the times that count."""
        decode = self._stream.codec_context.decode
        has_times = self._kind in WITH_TIMES
        unit = self._stream.time_base if has_times or self._kind in FROM_ZERO else None
        numerator, denominator = (unit.numerator, unit.denominator) if unit else (0, 1)
        is_corrupt = False
        for packet in self._packets():
            if is_corrupt and packet.size > 0:  # the last one may be shorter
                self.n_damaged += 1
            is_corrupt = has_times and packet.is_corrupt
            try:
                decoded = decode(packet)
            except av.FFmpegError:
                is_tag = bytes(packet)[:3] in _TAGS
                self.n_damaged += not (is_corrupt or is_tag)  # each is counted once
                continue
            for frame in decoded:
                if isinstance(frame, AudioFrame) and frame.samples and frame.sample_rate:
                    self.n_decoded += 1
                    at = frame.pts if unit else None
                    yield frame, (None if at is None else at * numerator / denominator)
                    unit = unit if has_times else None

    def _packets(self) -> Iterator["AudioPacket"]:
        is_pcm = self._stream.codec_context.name.startswith("pcm_")
        return _joined(self._demuxed()) if is_pcm else self._demuxed()

    def _demuxed(self) -> Iterator["AudioPacket"]:
        """Yields packets; damage does not end them."""
        n_failures = 0
        packets = self._container.demux(self._stream)
        while n_failures < _MAX_FAILURES:
            try:
                for packet in packets:
                    if n_failures:
                        self.n_damaged += n_failures if packet.size else 0  # else there was a tag
                        n_failures = 0
                    yield packet
            except av.InvalidDataError:
                n_failures += 1
                packets = self._container.demux(self._stream)
            except (av.FFmpegError, OSError) as error:
                self._warn(f"{self._name} could not be read to its end: {error.strerror}")
                return
            else:
                return
        self.n_damaged += n_failures


def _joined(packets: Iterator["AudioPacket"]) -> Iterator["AudioPacket"]:
    """Joins consecutive small packets of PCM: each call costs more than its samples."""
    waiting: list[bytes] = []
    first: AudioPacket | None = None
    n_waiting = 0
    end: int | None = None
    for packet in packets:
        if packet.size == 0:  # asks the decoder for what it holds; PCM's holds nothing
            continue
        follows = end is None or packet.pts is None or abs(packet.pts - end) <= 1
        if first is not None and (n_waiting >= _JOINED_BYTES or not follows):
            yield _as_one(first, waiting)
            first, waiting, n_waiting = None, [], 0
        first = first or packet
        waiting.append(bytes(packet))
        n_waiting += packet.size
        end = packet.pts + packet.duration if packet.pts is not None and packet.duration else None
    if first is not None:
        yield _as_one(first, waiting)


def _as_one(first: "AudioPacket", pieces: list[bytes]) -> "AudioPacket":
    if len(pieces) == 1:
        return first
    packet: AudioPacket = Packet(b"".join(pieces))
    packet.pts, packet.dts, packet.time_base = first.pts, first.dts, first.time_base
    return packet
