"""Text from outside, such as a file's name, as it may be shown on any terminal.

Characters that a terminal obeys instead of showing are written as escapes. All others, combining
and joining ones included, stay as they are.
"""

import re

_OBEYED = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # control characters, which begin the sequences that move and colour
    "\u2028\u2029"  # line and paragraph separator
    "\u202a-\u202e\u2066-\u2069"  # those that turn the direction of what follows
    "\ud800-\udfff"  # halves of characters: bytes of a name that are no UTF-8
    "]"
)


def printable(text: str, keep: str = "") -> str:
    r"""Returns the text with escapes in place of control characters: `\x1b`, `\n`, `\u202e`.

    Args:
        text: Any text.
        keep: Control characters that stay.
    """
    return _OBEYED.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte that is no UTF-8 (PEP 383)
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
