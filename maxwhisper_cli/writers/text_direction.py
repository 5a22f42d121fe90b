"""Direction of a text, for formats that state it."""

import re
import unicodedata
from typing import Final

_TAG: Final = re.compile("</?u>")
"""Mark of a highlighted word."""
_EMBED_RIGHT_TO_LEFT: Final = "\u202b"
_END_OF_EMBEDDING: Final = "\u202c"


def is_right_to_left(text: str) -> bool:
    """Returns True if the first letter with a direction, outside of tags, is so written."""
    kinds = (unicodedata.bidirectional(character) for character in _TAG.sub("", text))
    return next((kind for kind in kinds if kind in {"L", "R", "AL"}), "L") != "L"


def with_direction(text: str) -> str:
    """Returns a text with Unicode's marks around each of its lines from right to left."""
    return "\n".join(
        f"{_EMBED_RIGHT_TO_LEFT}{line}{_END_OF_EMBEDDING}" if is_right_to_left(line) else line
        for line in text.split("\n")
    )
