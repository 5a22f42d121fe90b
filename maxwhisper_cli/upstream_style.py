"""How openai-whisper's command line is written: its spellings, switches and `None`.

Makes Typer take all of that, so that a command written for openai-whisper runs as it is. Which
options there are is in `cli_options`.
"""

import math
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from typing import Any, Protocol

import typer
from typer.core import TyperCommand

SWITCH_METAVAR = "True|False"
"""Marks the options that are switches."""


class Switch(StrEnum):
    """A choice written out, as openai-whisper does: `--fp16 False`. Its truth is what it says."""

    ON = "True"
    OFF = "False"

    def __bool__(self) -> bool:
        return self is Switch.ON


class UpstreamCommand(TyperCommand):
    """A command that takes openai-whisper's spellings.

    `--beam_size` is `--beam-size`; a switch may stand alone, which means True.
    """

    def __init__(self, *args: object, **settings: object) -> None:
        names = {"token_normalize_func": lambda name: name.replace("_", "-")}
        settings["context_settings"] = {**(settings.get("context_settings") or {}), **names}  # type: ignore[dict-item]
        super().__init__(*args, **settings)  # type: ignore[arg-type]

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Gives each switch that stands alone its value, then parses as usual."""
        switches = {
            name
            for parameter in self.params
            if parameter.metavar == SWITCH_METAVAR
            for name in parameter.opts
        }
        completed: list[str] = []
        for position, arg in enumerate(args):
            if arg == "--":  # what follows are files, whatever they look like
                completed += args[position:]
                break
            completed.append(arg)
            following = args[position + 1 : position + 2]
            stands_alone = not following or following[0].lower() not in {"true", "false"}
            if arg.replace("_", "-") in switches and stands_alone:
                completed.append(Switch.ON.value)
        return super().parse_args(ctx, completed)

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


def optional_int(given: object) -> int | None:
    """Returns a whole number, or None where that is written; a default passes through as well."""
    text = str(given)
    try:
        return None if text == "None" else int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither a whole number nor None") from None


def optional_count(given: object) -> int | None:
    """Returns a whole number from 0 on, or None where that is written."""
    number = optional_int(given)
    if number is not None and number < 0:
        raise typer.BadParameter(f"'{number}' is below 0")
    return number


def optional_float(given: object) -> float | None:
    """Returns a finite number, or None where that is written; a default passes through as well."""
    text = str(given)
    try:
        number = None if text == "None" else float(text)
    except ValueError:
        number = math.nan
    if number is not None and not math.isfinite(number):
        raise typer.BadParameter(f"{text!r} is neither a number nor None")
    return number


def number(given: object) -> float:
    """Returns a finite number; a default passes through as well."""
    found = optional_float(given)
    if found is None:
        raise typer.BadParameter("'None' is no number")
    return found


def optional_text(given: object) -> str | None:
    """Returns the text, or None where that is written; a default passes through as well."""
    return None if given is None or given == "None" else str(given)


class Arguments(Protocol):
    """A command's arguments, each a field, and what is done with them."""

    def run(self) -> None:
        """Do what the command is for."""


def as_command(arguments: Callable[..., Arguments]) -> Callable[..., None]:
    """Returns a function for Typer with the fields, name and docstring of a dataclass."""

    @wraps(arguments, updated=())
    def command(**given: object) -> None:
        arguments(**given).run()

    return command
