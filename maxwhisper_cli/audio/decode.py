"""Decoding of audio and video files: samples as stored, whatever the format.

libsndfile (through soundfile) reads the formats that it recognises by content; FFmpeg's libraries
(`container`) read the rest, and those in which libsndfile stops short: MP3 and FLAC, files
with several recordings (`parts`) or wrong sizes (`header`), and what follows damage.
No program is run. Rate, channels and damaged samples stay as they are: `reader` handles them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from maxwhisper_cli.audio.foreign import refuse_foreign
from maxwhisper_cli.audio.parts import Part, find_parts
from maxwhisper_cli.audio.stream import AudioError, DecodedStream, Float32, Warn
from maxwhisper_cli.audio.window import n_bytes_of, read_at

_OGG_PAGE: Final = b"OggS"
_OGG_HEADER_BYTES: Final = 27
_MAX_OGG_PAGE_BYTES: Final = 65307  # header, 255 segment sizes, and the segments
_FFMPEG_KINDS: Final = frozenset({"flac", "matroska", "mp4", "avi", "flv", "asf", "other"})

Track = int | str | None
"""Number of an audio track, from 1 on, or its language; None is the default track."""


def decode(file: IO[bytes], name: str, warn: Warn, track: Track = None) -> DecodedStream:
    """Opens the audio of a seekable binary file.

    Args:
        file: Positioned at its start; stays open when the stream is closed.
        name: Name for messages; its extension decides the format if the content has no header.
        warn: Called with each message about missing or damaged audio.
        track: Number or language of the audio track.

    Raises:
        AudioError: The file is no readable audio or video, or has no sound.
    """
    refuse_foreign(file, name)
    parts = find_parts(file)
    if parts[-1].kind == "ogg" and not _ends_as_ogg(file):
        warn(f"{name} may be cut off: the page that ends an Ogg file is missing")
    opener = _PartOpener(file, name, warn, track, is_alone=len(parts) == 1)
    first = opener.open(parts[0])
    return first if len(parts) == 1 else _chain(first, opener, parts[1:])


class _PartOpener:
    """Opens the recordings of one file."""

    def __init__(
        self, file: IO[bytes], name: str, warn: Warn, track: Track, *, is_alone: bool
    ) -> None:
        self.name = name
        self.warn = warn
        self._file = file
        self._track = track
        self._is_alone = is_alone

    def open(self, part: Part) -> DecodedStream:
        """Opens one recording with the library that reads all of it."""
        self._warn_of(part)
        if self._track is None and self._is_for_libsndfile(part):
            from maxwhisper_cli.audio.soundfile import decode_sound

            sound = decode_sound(self._file, self.name, self.warn, goes_on=True)
            if sound is not None:
                return sound
            self._file.seek(0)
        return self._open_container(part)

    def _open_container(self, part: Part) -> DecodedStream:
        from maxwhisper_cli.audio.container import decode_container

        # The file itself has a name, whose extension FFmpeg looks at.
        file = self._file if self._is_whole(part) else part.open(self._file)
        if part.sound is not None and part.sound.is_rifx and self._track is None:
            return self._open_window(file, None)
        try:
            return decode_container(
                file, self.name, self.warn, track=self._track, is_cut=part.is_cut
            )
        except AudioError as error:
            # Of wav files there are codings that only libsndfile reads.
            if part.kind != "chunks" or self._track not in {None, 1}:
                raise
            return self._open_window(file, error)

    def _open_window(self, file: IO[bytes], refusal: AudioError | None) -> DecodedStream:
        from maxwhisper_cli.audio.soundfile import decode_sound

        sound = decode_sound(file, self.name, self.warn, goes_on=False)
        if sound is not None:
            return sound
        raise refusal or AudioError(
            f"{self.name} is not audio or video that can be read: it is damaged"
        )

    def _is_whole(self, part: Part) -> bool:
        return self._is_alone and part.start == 0 and (part.sound is None or part.sound.is_true)

    def _is_for_libsndfile(self, part: Part) -> bool:
        head = read_at(self._file, 0, 4)
        is_mpeg = head[:3] == b"ID3" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0")
        # For the extension .raw soundfile requires a sample rate.
        return not (
            is_mpeg
            or part.kind in _FFMPEG_KINDS
            or not self._is_whole(part)
            or not part.is_regular
            or (part.sound is not None and part.sound.is_mpeg)
            or Path(self.name).suffix.lower() == ".raw"
        )

    def _warn_of(self, part: Part) -> None:
        if part.is_damaged:
            self.warn(f"{self.name} is damaged: parts of it are missing or unreadable")
        sound = part.sound
        if sound is None or sound.n_announced is None:
            return
        present = sound.sound_end - sound.sound_start
        if sound.n_announced < present:
            self.warn(
                f"{self.name}: its header announces {sound.n_announced:,} bytes of sound; "
                f"{present:,} are there, and all were read"
            )
        elif sound.n_announced > present:
            self.warn(
                f"{self.name} is cut off: {present:,} of {sound.n_announced:,} bytes of sound "
                "are there"
            )


def _chain(first: DecodedStream, opener: _PartOpener, others: list[Part]) -> DecodedStream:
    """Joins the recordings of a file, with the rate and the channels of the first."""
    from maxwhisper_cli.audio.convert import Converter

    current = first

    def blocks() -> Iterator[Float32]:
        nonlocal current
        converter = Converter(first.sample_rate, first.n_channels)
        yield from first.blocks
        for number, part in enumerate(others, 2):
            current.close()
            try:
                current = opener.open(part)
            except AudioError as error:
                opener.warn(f"{opener.name}: recording {number} in it was left out: {error}")
                continue
            for block in current.blocks:
                yield converter.convert(block, current.sample_rate)
        yield converter.finish()

    def close() -> None:
        current.close()

    return DecodedStream(first.sample_rate, first.n_channels, None, blocks(), close)


def _ends_as_ogg(file: IO[bytes]) -> bool:
    """Returns True if the last page is whole and ends its stream (RFC 3533, section 6)."""
    start = max(0, n_bytes_of(file) - _MAX_OGG_PAGE_BYTES)
    page = read_at(file, start, _MAX_OGG_PAGE_BYTES)
    page = page[max(0, page.rfind(_OGG_PAGE)) :]
    if len(page) < _OGG_HEADER_BYTES:
        return False
    is_last, n_segments = page[5] & 0x4, page[_OGG_HEADER_BYTES - 1]
    sizes = page[_OGG_HEADER_BYTES : _OGG_HEADER_BYTES + n_segments]
    is_whole = len(page) >= _OGG_HEADER_BYTES + n_segments + sum(sizes)
    return bool(is_last) and is_whole
