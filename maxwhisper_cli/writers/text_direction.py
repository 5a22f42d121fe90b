"""Direction of a text, for formats that state it."""

import unicodedata


def is_right_to_left(text: str) -> bool:
    """Returns True if the first letter with a direction is written from right to left."""
    kinds = (unicodedata.bidirectional(character) for character in text)
    return next((kind for kind in kinds if kind in {"L", "R", "AL"}), "L") != "L"
