"""Samples without a header, whose format the caller knows."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from typing import IO, Final

import soundfile

from maxwhisper_cli.audio.stream import AudioError, DecodedStream, Float32

RAW_ENCODINGS: Final = {
    "s8": ("PCM_S8", "FILE"),
    "u8": ("PCM_U8", "FILE"),
    "s16le": ("PCM_16", "LITTLE"),
    "s16be": ("PCM_16", "BIG"),
    "s24le": ("PCM_24", "LITTLE"),
    "s24be": ("PCM_24", "BIG"),
    "s32le": ("PCM_32", "LITTLE"),
    "s32be": ("PCM_32", "BIG"),
    "f32le": ("FLOAT", "LITTLE"),
    "f32be": ("FLOAT", "BIG"),
    "f64le": ("DOUBLE", "LITTLE"),
    "f64be": ("DOUBLE", "BIG"),
    "mulaw": ("ULAW", "FILE"),
    "alaw": ("ALAW", "FILE"),
}
"""FFmpeg's names of sample formats, with libsndfile's subtype and byte order."""
_BLOCK_FRAMES: Final = 65536


@dataclass(frozen=True, slots=True)
class RawFormat:
    """Format of samples without a header."""

    encoding: str = "s16le"
    """Encoding, one of `RAW_ENCODINGS`."""
    sample_rate: int = 16000
    n_channels: int = 1


def decode_raw(file: IO[bytes], name: str, raw: RawFormat) -> DecodedStream:
    """Opens a seekable binary file as samples of a known format.

    Raises:
        AudioError: There is no such format, or the file is empty.
    """
    if raw.encoding not in RAW_ENCODINGS:
        known = ", ".join(RAW_ENCODINGS)
        raise AudioError(f"{raw.encoding!r} is no raw format: choose one of {known}")
    if not file.read(1):
        raise AudioError(f"{name} is empty (0 bytes): check that it was saved or copied fully")
    file.seek(0)
    subtype, endian = RAW_ENCODINGS[raw.encoding]
    try:
        sound = soundfile.SoundFile(
            file.fileno() if isinstance(file, FileIO) else file,
            samplerate=raw.sample_rate,
            channels=raw.n_channels,
            format="RAW",
            subtype=subtype,
            endian=endian,
            closefd=False,
        )
    except (soundfile.LibsndfileError, TypeError, ValueError, OverflowError) as error:
        raise AudioError(
            f"{name} cannot be read as {raw.encoding} of {raw.sample_rate} Hz and "
            f"{raw.n_channels} channels: {error}"
        ) from error
    seconds = sound.frames / sound.samplerate
    return DecodedStream(sound.samplerate, sound.channels, seconds, _blocks(sound), sound.close)


def _blocks(sound: soundfile.SoundFile) -> Iterator[Float32]:
    while len(block := sound.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
        yield block
