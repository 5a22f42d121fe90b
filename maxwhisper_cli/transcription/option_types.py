"""Checks of single values that a user gives from Python: type, finiteness and range.

Each function returns the value in Python's own type, so that NumPy's numbers, and lists where
tuples are expected, are accepted.
"""

import math
import operator
from collections.abc import Callable, Iterable
from functools import partial
from numbers import Real
from typing import TypeVar

from weights.errors import MaxWhisperError

Value = TypeVar("Value")


class OptionsError(MaxWhisperError):
    """Options contradict each other or make no sense."""


def whole(name: str, value: object, minimum: int, maximum: int | None = None) -> int:
    """Returns a whole number within a range; True and False are none.

    Raises:
        OptionsError: It is no whole number, or out of range.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None:
        raise OptionsError(f"{name} must be a whole number, not {_shown(value)}")
    if number < minimum or (maximum is not None and number > maximum):
        raise OptionsError(f"{name} must be {_range(minimum, maximum)}, not {number}")
    return number


def real(
    name: str, value: object, minimum: float | None = None, maximum: float | None = None
) -> float:
    """Returns a finite number within a range.

    Raises:
        OptionsError: It is no number, NaN, infinite, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise OptionsError(f"{name} must be a number, not {_shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise OptionsError(f"{name} must be a finite number, not {_shown(value)}")
    if (minimum is not None and number < minimum) or (maximum is not None and number > maximum):
        raise OptionsError(f"{name} must be {_range(minimum, maximum)}, not {number:g}")
    return number


def flag(name: str, value: object) -> bool:
    """Returns True or False.

    Raises:
        OptionsError: It is neither.
    """
    if value is True or value is False:
        return value
    raise OptionsError(f"{name} must be True or False, not {_shown(value)}")


def text(name: str, value: object) -> str:
    """Returns a text.

    Raises:
        OptionsError: It is none.
    """
    if not isinstance(value, str):
        raise OptionsError(f"{name} must be text, not {_shown(value)}")
    return str(value)


def several(name: str, values: object, check: Callable[[str, object], Value]) -> tuple[Value, ...]:
    """Returns the values of a tuple, list or other iterable but text, each of them checked.

    Raises:
        OptionsError: It is no such iterable, or one of its values is refused.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise OptionsError(f"{name} must be a tuple, not {_shown(values)}")
    return tuple(check(name, value) for value in values)


def attention_head(name: str, value: object) -> tuple[int, int]:
    """Returns an attention head as a pair of layer and head, both from 0.

    Raises:
        OptionsError: It is no such pair.
    """
    pair = several(name, value, check=partial(whole, minimum=0))
    if len(pair) != 2:
        raise OptionsError(f"{name} must be pairs of layer and head, not {_shown(value)}")
    return pair[0], pair[1]


def _range(minimum: float | None, maximum: float | None) -> str:
    if maximum is None:
        return f"at least {minimum:g}"
    return f"at most {maximum:g}" if minimum is None else f"from {minimum:g} to {maximum:g}"


def _shown(value: object) -> str:
    """Returns a short form of any value for a message."""
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."
