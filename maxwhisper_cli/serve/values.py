"""Kinds of values in a form: text that becomes a number, a switch, a word of a list.

Each kind parses one text, and describes itself for the documentation.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from maxwhisper_cli.serve.errors import invalid

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value."""

    parse: Callable[[str, str], Any]
    """Parses (name, text).

    Raises:
        ApiError: The text is none of this kind.
    """
    schema: dict[str, Any] = field(default_factory=dict)
    """Its JSON schema."""


def _text(_name: str, text: str) -> str:
    if "\0" in text:
        raise invalid(f"{_name} has a NUL character", _name)
    return text


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise invalid(f"{name} must be a number, not {text!r:.40}", name)
    return number


def _whole(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise invalid(f"{name} must be a whole number, not {text!r:.40}", name) from None


def _switch(name: str, text: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise invalid(f"{name} must be true or false, not {text!r:.40}", name)


def _several(parse: Callable[[str, str], Any]) -> Callable[[str, str], tuple[Any, ...]]:
    def parse_all(name: str, text: str) -> tuple[Any, ...]:
        return tuple(parse(name, part.strip()) for part in text.split(",") if part.strip())

    return parse_all


TEXT = Kind(_text, {"type": "string"})
NUMBER = Kind(_number, {"type": "number"})
WHOLE = Kind(_whole, {"type": "integer"})
SWITCH = Kind(_switch, {"type": "boolean"})
NUMBERS = Kind(_several(_number), {"type": "string", "examples": ["0,30"]})
WHOLES = Kind(_several(_whole), {"type": "string", "examples": ["-1"]})


def one_of(*words: str) -> Kind:
    """Returns the kind of a word out of a list."""

    def parse(name: str, text: str) -> str:
        if text not in words:
            raise invalid(f"{name} must be one of {', '.join(words)}, not {text!r:.40}", name)
        return text

    return Kind(parse, {"type": "string", "enum": list(words)})


def only(neutral: float, instead: str) -> Kind:
    """Returns the kind of a number that only one value of has no effect; others are refused."""

    def parse(name: str, text: str) -> float:
        if _number(name, text) != neutral:
            raise invalid(f"{name} is not supported, but as {neutral:g}: {instead}", name)
        return neutral

    return Kind(parse, {"type": "number", "enum": [neutral]})


def only_false() -> Kind:
    """Returns the kind of a switch that cannot be on."""

    def parse(name: str, text: str) -> bool:
        if _switch(name, text):
            raise invalid(f"{name} is not supported, but as false", name, "unsupported_parameter")
        return False

    return Kind(parse, {"type": "boolean", "enum": [False]})


def refused(instead: str) -> Kind:
    """Returns the kind of a known field that cannot be honoured, with advice."""

    def parse(name: str, _text: str) -> None:
        raise invalid(f"{name} is not supported: {instead}", name, "unsupported_parameter")

    return Kind(parse, {"type": "string", "deprecated": True})
