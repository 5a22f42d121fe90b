"""Decoding through FFmpeg's libraries, inside PyAV: video files, MP3, FLAC, headerless formats.

Apart from `decode`, since PyAV is the slowest to import of all that reads audio. Times are
the container's: where a track begins late or has a gap, there is silence.
"""

from codecs import getincrementaldecoder
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from typing import IO, Any, Final

import av
from av.audio.stream import AudioStream
from av.container import InputContainer

from maxwhisper_cli.audio.convert import Converter
from maxwhisper_cli.audio.frames import Assembler
from maxwhisper_cli.audio.packets import PacketDecoder
from maxwhisper_cli.audio.parts import has_frame_count
from maxwhisper_cli.audio.stream import (
    AudioError,
    Cuttable,
    DecodedStream,
    Float32,
    Warn,
)
from maxwhisper_cli.audio.thread import few_at_a_time
from maxwhisper_cli.audio.timeline import FROM_ZERO, Timed, Timeline
from maxwhisper_cli.audio.track import choose_track

_HEADERLESS: Final = frozenset({"g722", "g726", "g726le", "mulaw", "alaw", "gsm", "sln"})
_FRAMED: Final = frozenset({"mp3", "aac", "ac3", "eac3", "dts", "dtshd", "loas", "mlp", "truehd"})
"""Frames without a container: their length is an estimate, and many other files resemble them."""
_ESTIMATED: Final = _FRAMED | _HEADERLESS | {"wav", "w64"}
"""Formats whose length FFmpeg estimates by the bit rate."""
_MAX_DAMAGED: Final = 3  # for each good frame; more is how noise looks
_EXACT_SECONDS: Final = 0.001  # where a header counts samples
_COUNTED_SECONDS: Final = 0.5  # a count of frames, and some are padding
_PROBED_FRAMES: Final = 24


def tag_options(pyav_version: str) -> dict[str, Any]:
    """Returns the arguments for `av.open` that let in files whose tags are not UTF-8.

    PyAV 19 always lets them in, and no longer has the argument.
    """
    major = int(pyav_version.partition(".")[0])
    return {"metadata_errors": "replace"} if major < 19 else {}


def decode_container(
    file: IO[bytes], name: str, warn: Warn, *, track: int | str | None = None, is_cut: bool = False
) -> DecodedStream:
    """Opens the audio of a seekable binary file; arguments as `decode.decode`.

    Args:
        file: Positioned anywhere.
        name: What to call it in messages.
        warn: Takes a message about sound that is missing or damaged.
        track: Number of the track, from 1 on, or its language.
        is_cut: The file should be longer than it is.

    Raises:
        AudioError: It is no audio or video that can be read, or has no such sound.
    """
    has_count = has_frame_count(file)
    file.seek(0)
    container = _open_container(file, name)
    try:
        _check_container(container, file, name)
        stream = choose_track(container, track, name)
        decoder = _Decoder(container, stream, name, warn)
        decoded = decoder.open(is_cut=is_cut, has_count=has_count)
    except BaseException:
        container.close()
        raise
    if track is not None or container.format.name not in {"mp3", "flac"}:
        return decoded
    return replace(decoded, cuttable=partial(_cut, file, container.format.name, decoded))


def _cut(file: IO[bytes], kind: str, decoded: DecodedStream) -> Cuttable | None:
    """Returns the file to be read in spans, if that gives all that is announced."""
    position = file.tell()
    if kind == "mp3":
        from maxwhisper_cli.audio.mp3 import cut_mp3

        cuttable, tolerance = cut_mp3(file), _COUNTED_SECONDS
    else:
        from maxwhisper_cli.audio.soundfile import cut_sound

        cuttable, tolerance = cut_sound(file), 0.0
    file.seek(position)
    if cuttable is None or decoded.seconds is None:
        return cuttable
    difference = abs(cuttable.n_samples / decoded.sample_rate - decoded.seconds)
    return cuttable if difference <= tolerance else None


def _open_container(file: IO[bytes], name: str) -> InputContainer:
    # No protocol is allowed: a playlist then cannot open what it names, a file or an address.
    options = {"protocol_whitelist": "none"}
    try:
        return av.open(file, "r", options=options, **tag_options(av.__version__))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise AudioError(
            f"{name} is not audio or video that can be read: it is something else, "
            "it is damaged, or its end is missing"
        ) from error


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
            raise AudioError(f"{name} is text, not audio, whatever its extension says")


def _is_text(sample: bytes) -> bool:
    try:
        text = getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return False
    return "\0" not in text


class _Decoder:
    """Decodes one track of one container."""

    def __init__(
        self, container: InputContainer, stream: AudioStream, name: str, warn: Warn
    ) -> None:
        self._container = container
        self._stream = stream
        self._name = name
        self._warn = warn
        self._format = container.format.name.partition(",")[0]
        self._packets = PacketDecoder(container, stream, self._format, name, warn)

    def open(self, *, is_cut: bool, has_count: bool) -> DecodedStream:
        """Decodes the first frames, which have what the header may lack: in HE-AAC the rate."""
        frames = self._packets.frames()
        probed = list(islice(frames, _PROBED_FRAMES if self._format in _FRAMED else 1))
        if not probed:
            raise AudioError(f"{self._name} has a sound track of which nothing can be decoded")
        self._refuse_noise(1)
        first, _ = probed[0]
        converter = Converter(first.sample_rate, first.layout.nb_channels)
        seconds = self._announced_seconds(has_count=has_count)
        blocks = self._blocks(chain(probed, frames), converter, seconds, is_cut=is_cut)
        return DecodedStream(
            converter.sample_rate,
            converter.n_channels,
            seconds,
            blocks,
            self._container.close,
            is_costly=True,
        )

    def _announced_seconds(self, *, has_count: bool) -> float | None:
        """Returns the length of this track in the file; never an estimate."""
        stream, container = self._stream, self._container
        if self._format in _ESTIMATED and not (self._format == "mp3" and has_count):
            return None
        if (text := stream.metadata.get("DURATION")) is not None:  # Matroska: the end of the track
            return _clock_seconds(text)
        if stream.duration is not None and stream.time_base:
            begin = max(0, stream.start_time or 0) if self._format in FROM_ZERO else 0
            return float((begin + stream.duration) * stream.time_base)
        # Damage makes further tracks in flv, which never has two.
        n_tracks = 1 if self._format == "flv" else len(container.streams.audio)
        is_alone = len(container.streams) - len(container.streams.audio) + n_tracks == 1
        if container.duration is not None and is_alone:
            return container.duration / av.time_base
        return None

    def _blocks(
        self, frames: Iterator[Timed], converter: Converter, seconds: float | None, *, is_cut: bool
    ) -> Iterator[Float32]:
        timeline = Timeline(self._container, self._format, self._name, self._warn)
        n_read = 0
        for block in few_at_a_time(Assembler(frames, converter, timeline).blocks()):
            n_read += len(block)
            yield block
        self._tell(n_read / converter.sample_rate, seconds, is_cut=is_cut)

    def _refuse_noise(self, max_share: int) -> None:
        """Raises AudioError where more pieces failed than this share of those that did not."""
        n_damaged, n_decoded = self._packets.n_damaged, self._packets.n_decoded
        if self._format in _FRAMED and n_damaged > max_share * n_decoded:
            raise AudioError(
                f"{self._name} is not audio: hardly anything in it can be decoded as "
                f"{self._format.upper()}"
            )

    def _tell(self, read_seconds: float, seconds: float | None, *, is_cut: bool) -> None:
        self._refuse_noise(_MAX_DAMAGED)
        name, n_damaged = self._name, self._packets.n_damaged
        tolerance = _EXACT_SECONDS if self._format == "flac" else max(0.5, 0.05 * (seconds or 0))
        is_short = seconds is not None and seconds - read_seconds > tolerance
        if is_short or is_cut:
            n_damaged -= 1  # the place where it is cut
        if n_damaged > 0:
            self._warn(f"{name} is damaged; pieces of its sound that were left out: {n_damaged}")
        if seconds is not None and is_short:
            self._warn(
                f"{name} may be cut off: it announces {seconds:.1f} s, "
                f"{read_seconds:.1f} s could be read"
            )
        elif is_cut:
            self._warn(f"{name} is cut off: its end is missing; {read_seconds:.1f} s could be read")


def _clock_seconds(text: str) -> float | None:
    """Returns the seconds in `00:01:02.500000000`."""
    try:
        hours, minutes, seconds = text.split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except ValueError:
        return None
