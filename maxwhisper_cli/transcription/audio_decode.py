"""Decoding of audio and video files: samples as stored, whatever the format.

libsndfile (through soundfile) reads the formats that it recognises by content; FFmpeg's libraries
(`audio_container`) read the rest, and MP3, where they decode as openai-whisper does and libsndfile
writes to the terminal. No program is run. Rate, channels and damaged samples stay as they are:
`audio` handles them.
"""

import os
import re
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import IO, Final

import soundfile

from maxwhisper_cli.transcription.audio_stream import AudioError, DecodedStream, Float32, Warn

# One FLAC block: reading stops at damage, and loses the samples before it in the same read.
_SOUNDFILE_FRAMES: Final = 4096
_OGG_PAGE: Final = b"OggS"
_OGG_HEADER_BYTES: Final = 27
_MAX_OGG_PAGE_BYTES: Final = 65307  # header, 255 segment sizes, and the segments


def decode(file: IO[bytes], name: str, warn: Warn) -> DecodedStream:
    """Opens the audio of a seekable binary file.

    Args:
        file: Positioned at its start; stays open when the stream is closed.
        name: Name for messages; its extension decides the format if the content has no header.
        warn: Called with each message about missing or damaged audio.

    Raises:
        AudioError: The file is no readable audio or video, or has no sound.
    """
    head = file.read(4)
    file.seek(0)
    if not head:
        raise AudioError(f"{name} is empty (0 bytes): check that it was saved or copied fully")
    if head == _OGG_PAGE and not _ends_as_ogg(file):
        warn(f"{name} may be cut off: the page that ends an Ogg file is missing")
    is_mpeg = head[:3] == b"ID3" or (head[0] == 0xFF and head[1:2] >= b"\xe0")
    # For the extension .raw soundfile requires a sample rate.
    if not is_mpeg and Path(name).suffix.lower() != ".raw":
        try:
            sound = soundfile.SoundFile(_for_libsndfile(file), closefd=False)
        except soundfile.LibsndfileError:
            file.seek(0)
        else:
            return _from_soundfile(sound, name, warn)
    from maxwhisper_cli.transcription.audio_container import decode_container

    return decode_container(file, name, warn)


def _for_libsndfile(file: IO[bytes]) -> IO[bytes] | int:
    """Returns the descriptor of an unbuffered file, else the file.

    A Ctrl-C during a callback from libsndfile into Python would be lost.
    """
    return file.fileno() if isinstance(file, FileIO) else file


def _ends_as_ogg(file: IO[bytes]) -> bool:
    """Returns True if the last page is whole and ends its stream (RFC 3533, section 6)."""
    n_bytes = file.seek(0, os.SEEK_END)
    file.seek(max(0, n_bytes - _MAX_OGG_PAGE_BYTES))
    page = file.read()
    file.seek(0)
    page = page[max(0, page.rfind(_OGG_PAGE)) :]
    if len(page) < _OGG_HEADER_BYTES:
        return False
    is_last, n_segments = page[5] & 0x4, page[_OGG_HEADER_BYTES - 1]
    sizes = page[_OGG_HEADER_BYTES : _OGG_HEADER_BYTES + n_segments]
    is_whole = len(page) >= _OGG_HEADER_BYTES + n_segments + sum(sizes)
    return bool(is_last) and is_whole


def _from_soundfile(sound: soundfile.SoundFile, name: str, warn: Warn) -> DecodedStream:
    # libsndfile corrects the length, but logs it; pipes announce an endless length.
    for announced, present in re.findall(
        r"(?:data|SSND)\s*: (\d+) \(should be (\d+)\)", sound.extra_info
    ):
        if int(present) < int(announced) < 0x7FFF0000:
            warn(
                f"{name} is cut off: {int(present):,} of {int(announced):,} bytes of sound "
                f"are there, up to {sound.frames / sound.samplerate:.1f} s"
            )
    seconds = sound.frames / sound.samplerate
    return DecodedStream(
        sound.samplerate, sound.channels, seconds, _soundfile_blocks(sound, name, warn), sound.close
    )


def _soundfile_blocks(sound: soundfile.SoundFile, name: str, warn: Warn) -> Iterator[Float32]:
    n_read = 0
    damage = "it ends there"
    try:
        while len(block := sound.read(_SOUNDFILE_FRAMES, dtype="float32", always_2d=True)):
            n_read += len(block)
            yield block
    except soundfile.LibsndfileError as error:
        damage = str(error).strip(" .") or "damaged data"
    if n_read < sound.frames:
        warn(
            f"{name} could be read up to {n_read / sound.samplerate:.1f} s of "
            f"{sound.frames / sound.samplerate:.1f} s: {damage}"
        )
