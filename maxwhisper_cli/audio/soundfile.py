"""Decoding through libsndfile: wav, aiff, caf, au, Ogg, and all else that it recognises.

It stops at damage; FFmpeg's libraries then read on. Imported by the runs that use it alone.
"""

from collections.abc import Iterator
from functools import partial
from io import FileIO
from typing import IO, Final

import soundfile

from maxwhisper_cli.audio.stream import (
    AudioError,
    CutError,
    Cuttable,
    DecodedStream,
    Float32,
    Warn,
    not_cuttable,
)
from maxwhisper_cli.audio.thread import few_at_a_time
from maxwhisper_cli.audio.window import path_of

_SOUNDFILE_FRAMES: Final = 65536
_LONG_SECONDS: Final = 30  # shorter ones cost less than the import of the other library
_OPUS_RATE: Final = 48000
"""Rate at which FFmpeg decodes Opus; libsndfile decodes recordings of lower rates at those."""
_EXACT: Final = frozenset(
    {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "VORBIS"}
)
"""Codings that give the same samples wherever reading begins; FLAC has the names of PCM."""
_SHORT_FRAMES: Final = 4096
"""Length of reads of Opus, and after damage, which loses the samples before it in its read."""


def decode_sound(file: IO[bytes], name: str, warn: Warn, *, goes_on: bool) -> DecodedStream | None:
    """Opens the audio of a seekable binary file; None if libsndfile cannot.

    Args:
        file: Stays open when the stream is closed.
        name: Name for messages.
        warn: Called with each message about missing or damaged audio.
        goes_on: FFmpeg reads the file on, where libsndfile stops.
    """
    try:
        sound = _open(file)
    except soundfile.LibsndfileError:
        return None
    seconds = sound.frames / sound.samplerate
    blocks = _blocks(sound, file if goes_on else None, name, warn)
    cuttable = partial(cut_sound, file) if goes_on else not_cuttable
    return DecodedStream(
        sound.samplerate,
        sound.channels,
        seconds,
        blocks,
        sound.close,
        cuttable,
        is_costly=sound.subtype == "OPUS",
    )


def cut_sound(file: IO[bytes]) -> Cuttable | None:
    """Returns a file as one that libsndfile can read from anywhere; None if that is not exact.

    Args:
        file: File that libsndfile can open; its position does not move.
    """
    path = path_of(file)
    if path is None:
        return None
    try:
        with soundfile.SoundFile(path) as sound:
            is_exact = sound.subtype in _EXACT and sound.seekable()
            n_samples = sound.frames
    except (soundfile.LibsndfileError, TypeError):
        return None
    return Cuttable(n_samples, partial(_read_span, path)) if is_exact else None


def _read_span(path: str, start: int, end: int) -> Iterator[Float32]:
    try:
        with soundfile.SoundFile(path) as sound:
            sound.seek(start)
            while start < end:
                n_frames = min(end - start, _SOUNDFILE_FRAMES)
                block = sound.read(n_frames, dtype="float32", always_2d=True)
                if len(block) < n_frames:
                    raise CutError
                start += n_frames
                yield block
    except soundfile.LibsndfileError as error:
        raise CutError from error


def _open(file: IO[bytes]) -> soundfile.SoundFile:
    """Opens a file by its descriptor if it is unbuffered.

    A Ctrl-C during a callback from libsndfile into Python would be lost.
    """
    file.seek(0)
    return soundfile.SoundFile(file.fileno() if isinstance(file, FileIO) else file, closefd=False)


def _blocks(
    sound: soundfile.SoundFile, file: IO[bytes] | None, name: str, warn: Warn
) -> Iterator[Float32]:
    n_read = 0
    damage = "it ends there"
    try:
        for block in _reads(sound) if file is None else _all_reads(sound, file):
            n_read += len(block)
            yield block
    except soundfile.LibsndfileError as error:
        damage = str(error).strip(" .") or "damaged data"
    if n_read >= sound.frames:
        return
    warnings: list[str] = []
    if file is not None:
        for block in _rest(sound, file, name, n_read, warnings.append):
            n_read += len(block)
            yield block
    if n_read < sound.frames or warnings:
        warn(
            f"{name} could be read up to {n_read / sound.samplerate:.1f} s of "
            f"{sound.frames / sound.samplerate:.1f} s: {damage}"
        )


def _all_reads(sound: soundfile.SoundFile, file: IO[bytes]) -> Iterator[Float32]:
    """Yields all that can be read; long recordings in Opus by the faster of two libraries."""
    is_long = sound.frames >= _LONG_SECONDS * sound.samplerate
    if not (is_long and sound.subtype == "OPUS" and sound.samplerate == _OPUS_RATE):
        yield from _reads(sound)
        return
    from maxwhisper_cli.audio.opus import decode_opus

    n_read = 0
    for decoded in few_at_a_time(decode_opus(file, sound.channels)):
        block = decoded[: sound.frames - n_read]
        n_read += len(block)
        yield block
    if n_read < sound.frames:
        with _open(file) as rest:  # the first one does not know that the file has moved
            if n_read:
                rest.seek(n_read)
            yield from _reads(rest)


def _reads(sound: soundfile.SoundFile) -> Iterator[Float32]:
    """Yields all that libsndfile reads; damage raises its error after the samples before it."""
    n_read = 0
    # soundfile seeks after each read, which libsndfile's Opus answers with other last samples.
    n_frames = _SHORT_FRAMES if sound.subtype == "OPUS" else _SOUNDFILE_FRAMES
    try:
        while len(block := sound.read(n_frames, dtype="float32", always_2d=True)):
            n_read += len(block)
            yield block
    except soundfile.LibsndfileError:
        if n_frames == _SHORT_FRAMES:
            raise
        sound.seek(n_read)
        while len(block := sound.read(_SHORT_FRAMES, dtype="float32", always_2d=True)):
            yield block


def _rest(
    sound: soundfile.SoundFile, file: IO[bytes], name: str, n_read: int, warn: Warn
) -> Iterator[Float32]:
    """Yields the samples that FFmpeg decodes after libsndfile stops."""
    from maxwhisper_cli.audio.container import decode_container
    from maxwhisper_cli.audio.convert import Converter

    try:
        stream = decode_container(file, name, warn)
    except AudioError:
        return
    converter = Converter(sound.samplerate, sound.channels)
    n_known = n_read
    try:
        for given in stream.blocks:
            block = converter.convert(given, stream.sample_rate)[n_known:]
            n_known = max(0, n_known - len(given) if not len(block) else 0)
            yield block
        yield converter.finish()
    finally:
        stream.close()
