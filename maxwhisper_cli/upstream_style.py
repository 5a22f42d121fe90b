"""Syntax of openai-whisper's command line: its spellings, switches and `None`.

Typer accepts all of that, so that a command written for openai-whisper runs unchanged. The options
themselves are in `cli_options`.
"""

import math
import sys
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from typing import Any, Protocol

import typer
from typer.core import TyperCommand

SWITCH_METAVAR = "True|False"
"""Metavar that marks the options that are switches."""


class Switch(StrEnum):
    """Boolean option with a value, as openai-whisper has: `--fp16 False`."""

    ON = "True"
    OFF = "False"

    def __bool__(self) -> bool:
        return self is Switch.ON


class UpstreamCommand(TyperCommand):
    """A command that takes openai-whisper's spellings.

    `--beam_size` is `--beam-size`; a switch without a value means True.
    """

    def __init__(self, *args: object, **settings: object) -> None:
        names = {"token_normalize_func": lambda name: name.replace("_", "-")}
        settings["context_settings"] = {**(settings.get("context_settings") or {}), **names}  # type: ignore[dict-item]
        super().__init__(*args, **settings)  # type: ignore[arg-type]

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Adds True to each switch without a value, parses, and refuses infinite numbers."""
        switches = {
            name
            for parameter in self.params
            if parameter.metavar == SWITCH_METAVAR
            for name in parameter.opts
        }
        completed: list[str] = []
        for position, arg in enumerate(args):
            if arg == "--":  # all following arguments are files
                completed += args[position:]
                break
            completed.append(arg)
            following = args[position + 1 : position + 2]
            has_no_value = not following or following[0].lower() not in {"true", "false"}
            if arg.replace("_", "-") in switches and has_no_value:
                completed.append(Switch.ON.value)
        rest = super().parse_args(ctx, completed)
        for parameter in self.params:
            value = ctx.params.get(parameter.name or "")
            if isinstance(value, float) and not math.isfinite(value):
                raise typer.BadParameter(f"{value} is no finite number", ctx=ctx, param=parameter)
        return rest

    def format_options(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]  # noqa: ANN401
        """Lists the options under the headings of their panels."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                is_argument = parameter.param_type_name == "argument"
                name = str(parameter.metavar) if is_argument else record[0]
                panel = getattr(parameter, "rich_help_panel", None) or "Other"
                panels.setdefault(panel, []).append((name, record[1]))
        for panel, records in panels.items():
            with formatter.section(panel):
                formatter.write_dl(records)


def optional_int(value: object) -> int | None:
    """Parses an integer or `None`."""
    text = str(value)
    try:
        return None if text == "None" else int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither a whole number nor None") from None


def optional_count(value: object) -> int | None:
    """Parses an integer from 0 on or `None`."""
    number = optional_int(value)
    if number is not None and number < 0:
        raise typer.BadParameter(f"'{number}' is below 0")
    return number


def optional_float(value: object) -> float | None:
    """Parses a finite number or `None`."""
    text = str(value)
    try:
        number = None if text == "None" else float(text)
    except ValueError:
        number = math.nan
    if number is not None and not math.isfinite(number):
        raise typer.BadParameter(f"{text!r} is neither a number nor None")
    return number


def number(value: object) -> float:
    """Parses a finite number."""
    parsed = optional_float(value)
    if parsed is None:
        raise typer.BadParameter("'None' is no number")
    return parsed


def optional_text(value: object) -> str | None:
    """Parses text or `None`."""
    return None if value is None or value == "None" else str(value)


def int_option(
    name: str, text: str, panel: str, parser: Callable[[object], int | None] = optional_int
) -> object:
    """Returns an option that is an integer or None."""
    return typer.Option(name, parser=parser, metavar="N", help=text, rich_help_panel=panel)


def float_option(
    name: str, text: str, panel: str, parser: Callable[[object], float | None] = optional_float
) -> object:
    """Returns an option that is a finite number or None."""
    return typer.Option(name, parser=parser, metavar="X", help=text, rich_help_panel=panel)


def text_option(name: str, text: str, panel: str, metavar: str = "TEXT") -> object:
    """Returns an option that is text or None."""
    return typer.Option(
        name, parser=optional_text, metavar=metavar, help=text, rich_help_panel=panel
    )


def option(name: str, text: str, panel: str, metavar: str | None = None) -> object:
    """Returns an option of the type of its annotation."""
    return typer.Option(name, metavar=metavar, help=text, rich_help_panel=panel)


def format_option(panel: str, text: str, *, default: str | bool = "all") -> object:
    """Returns `--output-format` of a command; `default` is shown, unless it is False."""
    return typer.Option(
        "--output-format",
        "-f",
        metavar="FORMAT",
        show_default=default,
        help=text,
        rich_help_panel=panel,
    )


def switch(name: str, text: str, panel: str) -> object:
    """Returns an option that is `True` or `False`, or True without a value."""
    return typer.Option(
        name, metavar=SWITCH_METAVAR, case_sensitive=False, help=text, rich_help_panel=panel
    )


class Arguments(Protocol):
    """Arguments of a command as fields, with the method that runs it."""

    def run(self) -> None:
        """Runs the command."""


def as_command(arguments: Callable[..., Arguments]) -> Callable[..., None]:
    """Returns a function for Typer with the fields, name and docstring of a dataclass."""

    @wraps(arguments, updated=())
    def command(**values: object) -> None:
        arguments(**values).run()

    if sys.flags.optimize > 1:  # docstrings are gone, and a dataclass then has its fields instead
        command.__doc__ = None
    return command
