"""Text of files that people make: UTF-8, or what a byte order mark at its beginning says."""

import codecs
from typing import Final

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def decode_text(data: bytes, errors: str = "strict") -> str:
    """Returns text without its byte order mark.

    Args:
        data: Content of a file.
        errors: Name of Python's handler of bytes that are no text.

    Raises:
        UnicodeDecodeError: It is no such text.
    """
    mark, encoding = next((each for each in _MARKS if data.startswith(each[0])), (b"", "utf-8"))
    text = data[len(mark) :].decode(encoding, errors if encoding == "utf-8" else "strict")
    return text.lstrip("\ufeff")  # of a file that was converted with its mark
