"""Numbers in text that comes from outside: options, forms, headers."""

_MAX_DIGITS = 18
"""No count is longer, and Python refuses to read some thousands of digits."""


def whole_number(text: str) -> int | None:
    """Returns a number from 0 on of at most 18 digits; None for any other text."""
    is_number = text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS
    return int(text) if is_number else None
