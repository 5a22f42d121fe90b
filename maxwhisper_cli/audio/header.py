"""Headers of wav, aiff, w64, caf and au files, whose sizes are verified.

A recorder that crashes or writes into a pipe never fills in the sizes; others write them before
they know, or beyond 4 GB, where they wrap around. What lies behind the announced end decides:
further chunks, another recording or a tag make the header true, anything else is sound.
"""

from dataclasses import dataclass, replace
from typing import IO, Any, Final, Literal

from maxwhisper_cli.audio.window import n_bytes_of, read_at

_UNKNOWN_FROM: Final = 0x7FFF0000
"""Smallest 32-bit size that is a placeholder, as programs write it into pipes."""
_UNKNOWN_FROM_64: Final = 1 << 48
_MAX_CHUNKS: Final = 10_000
_MAX_HEADER_BYTES: Final = 64 * 2**20
_MAX_PADDING_BYTES: Final = 15
_SCAN_BYTES: Final = 2**20
_W64: Final = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_W64_DATA: Final = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
_TAGS: Final = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN", b"3DI")
_MPEG_TAGS: Final = frozenset({0x50, 0x55})  # of a wav's format: MPEG layers 1, 2 and 3


@dataclass(frozen=True, slots=True)
class _Layout:
    """Layout of the chunks of a family of formats."""

    first: int
    """Offset of the first chunk."""
    id_bytes: int
    size_bytes: int
    order: Literal["little", "big"]
    align: int
    counts_header: bool
    """True if the size of a chunk includes its header."""
    sound: bytes
    """Name of the chunk that holds the samples."""
    outer: int | None
    """Offset of the total size."""

    @property
    def header_bytes(self) -> int:
        return self.id_bytes + self.size_bytes


_RIFF: Final = _Layout(12, 4, 4, "little", 2, counts_header=False, sound=b"data", outer=4)
_RIFX: Final = _Layout(12, 4, 4, "big", 2, counts_header=False, sound=b"data", outer=4)
_FORM: Final = _Layout(12, 4, 4, "big", 2, counts_header=False, sound=b"SSND", outer=4)
_GUIDS: Final = _Layout(40, 16, 8, "little", 8, counts_header=True, sound=_W64_DATA, outer=16)
_CAF: Final = _Layout(8, 4, 8, "big", 1, counts_header=False, sound=b"data", outer=None)


@dataclass(frozen=True, slots=True)
class SoundHeader:
    """Declared and actual facts of a header."""

    end: int
    """End of this recording in the file."""
    sound_start: int
    sound_end: int
    mended: bytes | None = None
    """Corrected header, to put before `sound_start`; None if the file's is correct."""
    n_announced: int | None = None
    """Declared bytes of sound, if they differ from the actual ones; else None."""
    is_mpeg: bool = False
    """True if the samples are MPEG audio."""
    is_rifx: bool = False
    """True for a wav in big-endian order, which FFmpeg reads as little-endian."""
    more: "tuple[SoundHeader, ...]" = ()
    """Further chunks of samples in the same file, which libraries leave out."""

    @property
    def is_true(self) -> bool:
        """True if the file's own header is correct, or libsndfile corrects it."""
        return self.mended is None


def layout_of(head: bytes) -> _Layout | None:
    """Returns the chunk layout of a file, by its first 16 bytes; None if it has none."""
    magic, kind = head[:4], head[8:12]
    if kind == b"WAVE" and magic in {b"RIFF", b"RF64", b"BW64"}:
        return _RIFF
    if kind == b"WAVE" and magic == b"RIFX":
        return _RIFX
    if magic == b"FORM" and kind in {b"AIFF", b"AIFC"}:
        return _FORM
    if head[:16] == _W64:
        return _GUIDS
    if head[:6] == b"caff\0\1":
        return _CAF
    return None


def read_header(file: IO[bytes], start: int) -> SoundHeader | None:
    """Reads the header at `start`; None if the samples cannot be found."""
    head = read_at(file, start, 16)
    if head[:4] == b".snd":
        return _read_au(file, start)
    layout = layout_of(head)
    if layout is None:
        return None
    walk = _Walk(file, layout, start)
    if not walk.find_sound():
        return None
    return walk.judge()


def _read_au(file: IO[bytes], start: int) -> SoundHeader:
    n_bytes = n_bytes_of(file)
    sound_start = start + int.from_bytes(read_at(file, start + 4, 4), "big")
    announced = int.from_bytes(read_at(file, start + 8, 4), "big")
    end = sound_start + announced
    if announced >= _UNKNOWN_FROM:
        return SoundHeader(n_bytes, sound_start, n_bytes)
    if end > n_bytes:
        return SoundHeader(n_bytes, sound_start, n_bytes, None, announced)
    is_end = n_bytes - end <= _MAX_PADDING_BYTES
    if announced and (is_end or read_at(file, end, 16).startswith((b".snd", *_TAGS))):
        return SoundHeader(end, sound_start, end)
    header = bytearray(read_at(file, start, min(sound_start - start, _MAX_HEADER_BYTES)))
    header[8:12] = b"\xff" * 4
    return SoundHeader(n_bytes, sound_start, n_bytes, bytes(header), announced or None)


class _Walk:
    """Reader of the chunks of one file."""

    def __init__(self, file: IO[bytes], layout: _Layout, start: int) -> None:
        self._file = file
        self._layout = layout
        self._start = start
        self._n_bytes = n_bytes_of(file)
        self._chunk = start + layout.first
        self._size_64 = 0
        self._kind: dict[str, Any] = {"is_mpeg": False, "is_rifx": layout is _RIFX}
        self._more: list[tuple[int, int]] = []
        """Begin and end of the samples in further chunks."""

    def find_sound(self) -> bool:
        """Moves to the chunk of samples."""
        layout = self._layout
        for _ in range(_MAX_CHUNKS):
            name, size = self._head(self._chunk)
            body = self._chunk + layout.header_bytes
            if name == layout.sound:
                return True
            if not self._is_name(name) or body > self._n_bytes:
                return self._search_sound()
            if name == b"ds64":
                self._size_64 = int.from_bytes(read_at(self._file, body + 8, 8), "little")
            elif name == b"fmt ":
                self._kind["is_mpeg"] = _is_mpeg_format(read_at(self._file, body, 26), layout.order)
            self._chunk = self._next(body, size)
        return False

    def judge(self) -> SoundHeader:
        """Determines the end of the samples."""
        size = self._head(self._chunk)[1]
        if size == 0xFFFFFFFF and self._size_64:
            size = self._size_64
        body = self._chunk + self._layout.header_bytes
        announced_end = body + size
        if announced_end > self._n_bytes:  # cut off, or unknown: readers take what there is
            end = self._next_recording(body)
            is_alone = end == self._n_bytes
            mended = None if is_alone and self._outer_is_true(end) else self._mended(body, end)
            is_wide = self._layout.size_bytes == 8 or self._size_64 > 0
            announced = size if size < (_UNKNOWN_FROM_64 if is_wide else _UNKNOWN_FROM) else None
            return SoundHeader(end, body, end, mended, announced, **self._kind)
        next_start = self._end_of_tail(self._next(body, size))
        if next_start is None:
            end = self._next_recording(body)
            mended = self._mended(body, end)
            return SoundHeader(end, body, end, mended, size or None, **self._kind)
        mended = None if self._outer_is_true(announced_end) else self._mended(body, announced_end)
        more = tuple(
            SoundHeader(next_start, first, end, self._mended(body, body + end - first))
            for first, end in self._more
        )
        header = SoundHeader(next_start, body, announced_end, mended, None, **self._kind)
        return replace(header, more=more)

    def _head(self, position: int) -> tuple[bytes, int]:
        layout = self._layout
        head = read_at(self._file, position, layout.header_bytes)
        size = int.from_bytes(head[layout.id_bytes :], layout.order)
        if layout.counts_header:
            size = max(0, size - layout.header_bytes)
        return head[: layout.id_bytes], size

    def _is_name(self, name: bytes) -> bool:
        return len(name) == self._layout.id_bytes and all(32 <= byte < 127 for byte in name[:4])

    def _next(self, body: int, size: int) -> int:
        """Returns the start of the next chunk; some programs omit the padding of odd sizes."""
        end = body + size
        padded = end + (self._start - end) % self._layout.align
        if padded > end and self._layout.align == 2:
            names = read_at(self._file, end, 5)
            if self._is_name(names[:4]) and not self._is_name(names[1:5]):
                return end
        return padded

    def _search_sound(self) -> bool:
        """Searches for the samples if the sizes of the chunks before them are wrong."""
        begin = self._start + self._layout.first
        at = read_at(self._file, begin, _SCAN_BYTES).find(self._layout.sound)
        self._chunk = begin + at
        return at >= 0

    def _end_of_tail(self, position: int) -> int | None:
        """Returns the end of the chunks after the samples; None if there are none."""
        begin = position
        while position < self._n_bytes:
            head = read_at(self._file, position, 16)
            if layout_of(head) is not None:
                return position
            if head.startswith(_TAGS) or self._is_padding(position):
                return self._n_bytes
            name, size = self._head(position)
            end = position + self._layout.header_bytes + size
            if not self._is_name(name) or end > self._n_bytes + self._layout.align:
                return None if position == begin else self._n_bytes
            if name == self._layout.sound and size > 0:
                first = position + self._layout.header_bytes
                self._more.append((first, min(first + size, self._n_bytes)))
            position = self._next(position + self._layout.header_bytes, size)
        return self._n_bytes

    def _is_padding(self, position: int) -> bool:
        if self._n_bytes - position <= _MAX_PADDING_BYTES:
            return True
        _, size = self._head(self._chunk)
        return size > 0 and not any(read_at(self._file, position, _SCAN_BYTES))

    def _next_recording(self, position: int) -> int:
        """Returns the start of the next file of the kind, or the end of the whole file."""
        magic = read_at(self._file, self._start, 4)
        overlap = b""
        while block := read_at(self._file, position, _SCAN_BYTES):
            block, origin = overlap + block, position - len(overlap)
            at = block.find(magic)
            while at >= 0:
                if layout_of(read_at(self._file, origin + at, 16)) is self._layout:
                    return origin + at
                at = block.find(magic, at + 1)
            position = origin + len(block)
            overlap = block[-3:]
        return self._n_bytes

    def _outer_is_true(self, end: int) -> bool:
        if self._layout.outer is None or self._layout.counts_header:
            return True
        position = self._start + self._layout.outer
        outer = int.from_bytes(read_at(self._file, position, 4), self._layout.order)
        return outer >= _UNKNOWN_FROM or self._start + 8 + outer >= end

    def _mended(self, body: int, end: int) -> bytes:
        layout = self._layout
        header = bytearray(read_at(self._file, self._start, min(body - self._start, 64 * 2**20)))
        if bytes(header[:4]) in {b"RF64", b"BW64"}:
            header[:4] = b"RIFF"
        size = end - body + (layout.header_bytes if layout.counts_header else 0)
        all_of_it = (1 << 8 * layout.size_bytes) - 1
        if layout.sound == b"data":  # the two formats in which a size may be unknown
            size = all_of_it
        header[-layout.size_bytes :] = min(size, all_of_it).to_bytes(
            layout.size_bytes, layout.order
        )
        if layout.outer is not None:
            width = layout.size_bytes
            header[layout.outer : layout.outer + width] = min(
                len(header) + end - body, (1 << 8 * width) - 1
            ).to_bytes(width, layout.order)
        return bytes(header)


def _is_mpeg_format(chunk: bytes, order: Literal["little", "big"]) -> bool:
    tag = int.from_bytes(chunk[:2], order)
    if tag == 0xFFFE:  # extensible: the true one follows
        tag = int.from_bytes(chunk[24:26], order)
    return tag in _MPEG_TAGS
