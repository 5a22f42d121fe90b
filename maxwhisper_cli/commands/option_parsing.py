"""Parsing of option values: numbers, devices, temperatures, rows."""

from typing import Literal, TypeVar

from implementations import registry
from maxwhisper_cli.transcription.options import AUTO_ROWS, OptionsError, TranscribeOptions
from weights.whole_number import whole_number

_MAX_TEMPERATURE = 1.0
_MIN_INCREMENT = 0.01

Number = TypeVar("Number", int, float)


def parse_device(text: str | None) -> str | None:
    """Returns a device's name, `cpu`, `cuda` or `cuda:N`; None, for the default, passes through.

    Raises:
        OptionsError: The name is no device.
    """
    if text is not None and registry.device_kind(text) is None:
        raise OptionsError(f"--device is cpu, cuda or cuda:1, not {text!r}")
    return text


def parse_temperatures(first: float, increment: float | None) -> tuple[float, ...]:
    """Returns `first` and further temperatures up to 1 in steps of `increment`, rounded."""
    if increment is None:
        return (first,)
    if increment < _MIN_INCREMENT:
        raise OptionsError(
            f"--temperature-increment-on-fallback must be at least {_MIN_INCREMENT}, or None"
        )
    TranscribeOptions(temperatures=(first,))  # is refused before steps are counted
    n_more = max(0, int((_MAX_TEMPERATURE - first + 1e-6) / increment))
    return (first, *(round(first + i * increment, 6) for i in range(1, n_more + 1)))


def parse_batch_size(given: str | None, n_files: int) -> int | Literal["auto"]:
    """Returns the number of rows: `auto` for several files where none is given."""
    if given is None:
        return AUTO_ROWS if n_files > 1 else 1
    if given == AUTO_ROWS:
        return AUTO_ROWS
    n_rows = whole_number(given)
    if n_rows is None:
        raise OptionsError(f"--batch-size takes a number or auto, not {given!r:.40}")
    return n_rows


def parse_numbers(text: str, kind: type[Number], name: str) -> tuple[Number, ...]:
    """Returns numbers that are separated by commas.

    Args:
        text: Numbers as they were given.
        kind: Their type.
        name: Name of the option.

    Raises:
        OptionsError: One of them is no number.
    """
    try:
        return tuple(kind(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise OptionsError(
            f"{name} takes numbers with commas between them, not {text!r}"
        ) from error
