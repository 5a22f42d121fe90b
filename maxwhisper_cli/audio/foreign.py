"""Detection of files that are no audio, by their first bytes."""

from typing import IO, Final

from maxwhisper_cli.audio.stream import AudioError
from maxwhisper_cli.audio.window import read_at

_KINDS: Final = (
    (b"\x7fELF", "a program"),
    (b"\xfe\xed\xfa\xce", "a program"),
    (b"\xfe\xed\xfa\xcf", "a program"),
    (b"\xce\xfa\xed\xfe", "a program"),
    (b"\xcf\xfa\xed\xfe", "a program"),
    (b"\xca\xfe\xba\xbe", "a program"),
    (b"\0asm", "a program"),
    (b"!<arch>\n", "a library"),
    (b"PK\x03\x04", "a zip archive or an office document"),
    (b"%PDF-", "a PDF document"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an office document"),
    (b"\x1f\x8b\x08", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"Rar!\x1a\x07", "a rar archive"),
    (b"SQLite format 3\0", "a database"),
    (b"\x89PNG\r\n\x1a\n", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF87a", "an image"),
    (b"GIF89a", "an image"),
    (b"\x89HDF\r\n\x1a\n", "a data file"),
    (b"\x93NUMPY", "a data file"),
)


def refuse_foreign(file: IO[bytes], name: str) -> None:
    """Raises AudioError for an empty file, and for one whose first bytes are of no audio format."""
    head = read_at(file, 0, 64)
    if not head:
        raise AudioError(f"{name} is empty (0 bytes): check that it was saved or copied fully")
    kind = next((kind for magic, kind in _KINDS if head.startswith(magic)), None)
    if head[:2] == b"MZ" and len(head) == 64:
        header = int.from_bytes(head[60:64], "little")
        if read_at(file, header, 4) == b"PE\0\0":
            kind = "a program"
    if kind is not None:
        raise AudioError(f"{name} is not audio or video that can be read: it is {kind}")
    file.seek(0)
