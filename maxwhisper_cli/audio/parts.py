"""Recordings that follow each other in a file, and a tag before the first.

Chained Ogg streams, FLAC, wav, Matroska and MP4 files that were joined: readers stop at the end
of the first. MPEG audio and transport streams need no care: their pieces stand alone.
"""

import zlib
from collections import Counter
from dataclasses import dataclass, replace
from typing import IO, Final, cast

from maxwhisper_cli.audio.header import SoundHeader, layout_of, read_header
from maxwhisper_cli.audio.window import FileWindow, n_bytes_of, read_at

_MAX_PARTS: Final = 100_000
_SCAN_BYTES: Final = 2**20
_OGG_HEADER_BYTES: Final = 27
_REVERSED_BITS: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_MAX_OGG_HEADER_PAGES: Final = 4
_BEGINNINGS: Final = {
    "flac": (b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22"),
    "flv": tuple(b"FLV\1" + flags + b"\0\0\0\x09" for flags in (b"\1", b"\4", b"\5")),
    "asf": (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c",),
}
"""First bytes of files that end where the next of them begins."""
_EBML: Final = b"\x1a\x45\xdf\xa3"
_OTHERS: Final = (b"wvpk", b"TTA1", b"MAC ", b"#!AMR", b"nut/")
"""First bytes of files of one recording that only FFmpeg reads."""
_SEGMENT: Final = b"\x18\x53\x80\x67"


@dataclass(frozen=True, slots=True)
class Part:
    """One recording in a file."""

    start: int
    end: int
    kind: str
    """Kind: `chunks`, `ogg`, `flac`, `matroska`, `mp4`, `avi`, `flv`, `asf`, `other`, or empty."""
    is_cut: bool = False
    """True if its declared end is beyond the end of the file."""
    is_regular: bool = True
    """True if libsndfile can read its structure."""
    is_damaged: bool = False
    """True if a part of it is missing or unreadable."""
    sound: SoundHeader | None = None

    def open(self, file: IO[bytes]) -> IO[bytes]:
        """Returns it as a separate file, with a correct header."""
        if self.sound is not None and self.sound.mended is not None:
            header, sound = self.sound.mended, self.sound
            window = FileWindow(file, sound.sound_start, sound.sound_end, header=header)
        else:
            window = FileWindow(file, self.start, self.end)
        return cast("IO[bytes]", window)


def find_parts(file: IO[bytes]) -> list[Part]:
    """Returns the recordings in a file that is not empty; at least one, which may be anything."""
    n_bytes = n_bytes_of(file)
    start = skip_tags(file, 0)
    if not kind_at(file, start):
        return [Part(0, n_bytes, "")]
    parts: list[Part] = []
    while start < n_bytes and len(parts) < _MAX_PARTS and (kind := kind_at(file, start)):
        part = _part(file, start, n_bytes, kind)
        more = () if part.sound is None else part.sound.more
        parts += [part, *(replace(part, sound=each) for each in more)]
        start = skip_tags(file, part.end)
    return parts


def kind_at(file: IO[bytes], position: int) -> str:
    """Returns the kind of recording that begins at a position; empty if unknown."""
    head = read_at(file, position, 16)
    if layout_of(head) is not None or head[:4] == b".snd":
        return "chunks"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    if head[4:8] == b"ftyp":
        return "mp4"
    for kind, beginnings in _BEGINNINGS.items():
        if head.startswith(beginnings):
            return kind
    if head.startswith(_OTHERS):
        return "other"
    return {b"OggS": "ogg", _EBML: "matroska"}.get(head[:4], "")


def skip_tags(file: IO[bytes], position: int) -> int:
    """Returns the end of one or several ID3v2 tags."""
    while (head := read_at(file, position, 10))[:3] == b"ID3" and len(head) == 10:
        size = 0
        for byte in head[6:]:
            size = size << 7 | byte & 0x7F
        position += 10 + size + (10 if head[5] & 0x10 else 0)
    return position


def has_frame_count(file: IO[bytes]) -> bool:
    """Returns True if the first frame of an MP3 has the number of frames."""
    frame = read_at(file, skip_tags(file, 0), 2048)
    return any(mark in frame for mark in (b"Xing", b"Info", b"VBRI"))


def _part(file: IO[bytes], start: int, n_bytes: int, kind: str) -> Part:
    finders = {
        "ogg": _ogg_part,
        "matroska": _matroska_part,
        "mp4": _mp4_part,
        "avi": _avi_part,
    }
    if kind in finders:
        return finders[kind](file, start, n_bytes)
    if kind in _BEGINNINGS:
        return Part(start, _find(file, _BEGINNINGS[kind], start + 8, n_bytes), kind)
    sound = read_header(file, start) if kind == "chunks" else None
    return Part(start, sound.end if sound is not None else n_bytes, kind, sound=sound)


def _find(file: IO[bytes], patterns: tuple[bytes, ...], position: int, n_bytes: int) -> int:
    """Returns the first position of one of the patterns, which share 4 bytes, or the end."""
    common = patterns[0][:4]  # one search is faster than several
    n_more = max(map(len, patterns)) - 1
    overlap = b""
    while block := read_at(file, position, _SCAN_BYTES):
        block, origin = overlap + block, position - len(overlap)
        at = block.find(common)
        while at >= 0:
            if block.startswith(patterns, at):
                return origin + at
            at = block.find(common, at + 1)
        position = origin + len(block)
        overlap = block[-n_more:]
    return n_bytes


def _ogg_part(file: IO[bytes], start: int, n_bytes: int) -> Part:
    """Reads pages up to one that begins a stream after others had data (RFC 3533)."""
    position = start
    is_regular, is_damaged, has_data = True, False, False
    numbers: dict[bytes, int] = {}
    n_seen: Counter[bytes] = Counter()
    while position < n_bytes:
        page = _ogg_page(file, position)
        if page is None:
            is_page = read_at(file, position, 4) == b"OggS"
            position = _find(file, (b"OggS\0",), position + 1, n_bytes)
            is_damaged |= is_page or position < n_bytes  # else it is a tag
            continue
        begins, serial, number = page[5] & 2, page[14:18], int.from_bytes(page[18:22], "little")
        if begins and has_data:
            break
        has_data |= not begins
        n_seen[serial] += 1
        if number != numbers.get(serial, number - 1) + 1:
            # What begins in the middle of a broadcast has its headers, and later pages.
            is_regular &= n_seen[serial] > _MAX_OGG_HEADER_PAGES
            is_damaged |= n_seen[serial] > _MAX_OGG_HEADER_PAGES
        numbers[serial] = number
        position += len(page)
    is_regular &= not is_damaged
    return Part(start, min(position, n_bytes), "ogg", is_regular=is_regular, is_damaged=is_damaged)


def _ogg_page(file: IO[bytes], position: int) -> bytes | None:
    """Returns the page at a position; None if there is none, or its checksum is wrong."""
    head = read_at(file, position, _OGG_HEADER_BYTES + 255)
    if head[:4] != b"OggS" or len(head) < _OGG_HEADER_BYTES:
        return None
    n_pieces = head[_OGG_HEADER_BYTES - 1]
    sizes = head[_OGG_HEADER_BYTES : _OGG_HEADER_BYTES + n_pieces]
    n_page_bytes = _OGG_HEADER_BYTES + n_pieces + sum(sizes)
    page = read_at(file, position, n_page_bytes)
    if len(page) < n_page_bytes:  # the file is cut off here
        return page
    blank = page[:22] + bytes(4) + page[26:]
    # The polynomial is zlib's; the bits of bytes and of the sum go the other way round.
    checksum = zlib.crc32(blank.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    stored = page[22:26].translate(_REVERSED_BITS)
    return page if checksum == int.from_bytes(stored, "big") else None


def _matroska_part(file: IO[bytes], start: int, n_bytes: int) -> Part:
    head = read_at(file, start, 4096)
    size, at = _vint(head, 4)
    at += size or 0
    if head[at : at + 4] == _SEGMENT:
        size, body = _vint(head, at + 4)
        if size:  # neither unknown nor never filled in
            end = start + body + size
            return Part(start, min(end, n_bytes), "matroska", is_cut=end > n_bytes)
    position = _find(file, (_EBML,), start + 4, n_bytes)
    while position < n_bytes and b"\x42\x82" not in read_at(file, position, 64):
        position = _find(file, (_EBML,), position + 4, n_bytes)
    return Part(start, position, "matroska")


def _vint(data: bytes, at: int) -> tuple[int | None, int]:
    """Returns an EBML size, None if it is unknown, and the position after it (RFC 8794)."""
    if at >= len(data) or data[at] == 0:
        return None, at + 1
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1)
    return (None if value == (1 << 7 * length) - 1 else value), at + length


def _mp4_part(file: IO[bytes], start: int, n_bytes: int) -> Part:
    position, has_content = start, False
    while position + 8 <= n_bytes:
        head = read_at(file, position, 16)
        size, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if kind == b"ftyp" and has_content:
            return Part(start, position, "mp4")
        has_content |= kind in {b"moov", b"mdat", b"moof"}
        if size == 1:
            size = int.from_bytes(head[8:], "big")
        if size == 0 or head[:3] == b"TAG":  # the rest of the file, or what is no part of it
            return Part(start, n_bytes, "mp4")
        if size < 8 or not kind.isascii() or not kind.decode().isprintable():
            return Part(start, n_bytes, "mp4", is_damaged=True)
        position += size
    return Part(start, n_bytes, "mp4", is_cut=position > n_bytes)


def _avi_part(file: IO[bytes], start: int, n_bytes: int) -> Part:
    position = start
    while (head := read_at(file, position, 12))[:4] == b"RIFF":
        if head[8:] == b"AVI " and position > start:
            return Part(start, position, "avi")
        if head[8:] not in {b"AVI ", b"AVIX"}:
            break
        size = int.from_bytes(head[4:8], "little")
        if size in {0, 0xFFFFFFFF}:  # never filled in
            return Part(start, n_bytes, "avi")
        position += 8 + size + size % 2
    return Part(start, n_bytes, "avi", is_cut=position > n_bytes + 1)
