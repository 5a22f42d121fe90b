"""Values of a command's options from files, with their sources, in order of precedence.

Keys are options without their dashes: at the top of a file for all commands that have them, or in a
table of the command's name. Within a file the table wins; among files the nearest.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import typer

from maxwhisper_cli.configuration.files import ConfigurationFile, FoundFiles, find_files
from maxwhisper_cli.configuration.safety import checked_place
from maxwhisper_cli.upstream_style import SWITCH_METAVAR

ENVIRONMENT_PREFIX = "MAXWHISPER_"
NOT_CONFIGURED = frozenset({"cache", "samples", "config", "doctor", "completion"})
"""Commands whose options are given anew each time."""
_NOT_KEYS = frozenset({"help", "version", "yes"})
_NUMERIC_METAVARS = ("N|auto", "SECONDS", "IDS")
"""Metavars of options that are texts and may be one number."""

Command = Any
Option = Any
"""Click's, wherever typer keeps them."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Value of an option that a file sets."""

    key: str
    value: str | list[str]
    """Text that means the same on the command line."""
    file: ConfigurationFile


def options_of(command: Command) -> dict[str, Option]:
    """Returns the options of a command by key, the name without its dashes."""
    return {
        key: parameter
        for parameter in command.params
        if parameter.param_type_name == "option"
        and (key := _key_of(parameter)) not in _NOT_KEYS
        and not (key == "json" and parameter.is_flag)  # of commands that print
    }


def name_variables(command: Command) -> None:
    """Gives each option of a command that has none its variable: `MAXWHISPER_BEAM_SIZE`."""
    for key, parameter in options_of(command).items():
        if parameter.envvar is None:
            parameter.envvar = ENVIRONMENT_PREFIX + key.replace("-", "_").upper()
            parameter.show_envvar = False


class Settings:
    """Settings of the files that hold, checked for each command as it is asked for."""

    def __init__(
        self,
        ctx: typer.Context,
        *,
        chosen: Path | None = None,
        is_off: bool = False,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Stores where settings come from; nothing is read yet.

        Args:
            ctx: Context of the group of all commands.
            chosen: The one file to read, instead of looking for any.
            is_off: True reads none.
            warn: Called with a line for each file that is not used.
        """
        self._ctx = ctx
        self._chosen = chosen
        self._is_off = is_off
        self._warn = warn

    @cached_property
    def found(self) -> FoundFiles:
        """The files that hold here.

        Raises:
            ConfigurationError: A file cannot be read, or is no TOML.
        """
        found = find_files(self._chosen, is_off=self._is_off)
        for warning in found.warnings:
            self._warn(warning)
        return found

    def get(self, name: str, default: object = None) -> Mapping[str, str | list[str]] | None:
        """Returns the values for a command, by parameter; click's `default_map` calls it.

        Raises:
            ConfigurationError: A key is unknown, or a value is none of its option's.
        """
        del default
        command = self.command(name)
        if command is None or name in NOT_CONFIGURED or not self.found.files:
            return None
        parameters = options_of(command)
        return {parameters[key].name: found.value for key, found in self.of(name).items()}

    def of(self, name: str) -> dict[str, Setting]:
        """Returns the settings of a command by key.

        Raises:
            ConfigurationError: A key is unknown, or a value is none of its option's.
        """
        command = self.command(name)
        found: dict[str, Setting] = {}
        for file in reversed(self.found.files):
            top, tables = self._sorted(file)
            self._check_known(file, top, name)
            for label, keys in (("", top), (f"{name}.", tables.get(name, {}))):
                for key, value in _normal(file, label, keys):
                    parameter = options_of(command).get(key)
                    if parameter is not None:
                        found[key] = self._setting(file, name, f"{label}{key}", value)
                    elif label:
                        raise file.fail(f"{label}{key}", _unknown(key, options_of(command)))
        return found

    def check_all(self) -> None:
        """Checks the settings of every command.

        Raises:
            ConfigurationError: A key is unknown, or a value is none of its option's.
        """
        for name in self.commands():
            self.of(name)

    def commands(self) -> list[str]:
        """Returns the names of the commands that may be configured."""
        return [n for n in self._group().list_commands(self._ctx) if n not in NOT_CONFIGURED]

    def _group(self) -> Command:
        return self._ctx.command

    def command(self, name: str) -> Command:
        """Returns a command by name; None if there is none."""
        return self._group().get_command(self._ctx, name)

    def _sorted(
        self, file: ConfigurationFile
    ) -> tuple[dict[str, object], dict[str, dict[str, object]]]:
        """Returns the keys at the top of a file, and its tables by command."""
        commands = self.commands()
        top: dict[str, object] = {}
        tables: dict[str, dict[str, object]] = {}
        for key, value in file.content.items():
            if not isinstance(value, dict):
                top[key] = value
            elif key in commands:
                tables[key] = value
            else:
                raise file.fail(f"[{key}]", _unknown(key, commands))
        return top, tables

    def _check_known(self, file: ConfigurationFile, keys: Mapping[str, object], name: str) -> None:
        """Checks that each key at the top is an option of a command, this one's first."""
        unknown = {key for key, _ in _normal(file, "", keys)} - set(options_of(self.command(name)))
        if not unknown:
            return
        known = {key for other in self.commands() for key in options_of(self.command(other))}
        for key in sorted(unknown - known):
            raise file.fail(key, _unknown(key, known))

    def _setting(self, file: ConfigurationFile, name: str, label: str, value: object) -> Setting:
        """Checks a value as its option does, and returns it as text."""
        key = label.rpartition(".")[2]
        command = self.command(name)
        parameter = options_of(command)[key]
        values = value if isinstance(value, list) and parameter.multiple else [value]
        metavar = parameter.metavar or ""
        texts = [
            checked_place(file, key, metavar, _as_text(file, label, parameter, one))
            for one in values
        ]
        text = texts if parameter.multiple else texts[0]
        context = command.context_class(command, parent=self._ctx, info_name=name, default_map={})
        try:
            typed = parameter.process_value(context, text)
        except typer.BadParameter as error:
            raise file.fail(label, error.message) from error
        if isinstance(value, str) and isinstance(typed, int | float) and text != "None":
            raise file.fail(label, f"a number without quotes, not {value!r}")
        return Setting(key, text, file)


def _key_of(parameter: Option) -> str:
    names = [name for name in parameter.opts if name.startswith("--")]
    return names[0].removeprefix("--") if names else ""


def _normal(
    file: ConfigurationFile, label: str, keys: Mapping[str, object]
) -> Iterator[tuple[str, object]]:
    """Yields keys with hyphens, as options are written, and their values."""
    seen: set[str] = set()
    for key, value in keys.items():
        normal = key.replace("_", "-")
        if normal in seen:
            raise file.fail(f"{label}{normal}", "given twice, as two spellings; remove one")
        seen.add(normal)
        yield normal, value


def _as_text(file: ConfigurationFile, label: str, parameter: Option, value: object) -> str:
    """Returns a TOML value as it would be written on the command line, if its type is right."""
    is_switch = parameter.is_flag or parameter.metavar == SWITCH_METAVAR
    if is_switch:
        if not isinstance(value, bool):
            raise file.fail(label, f"true or false, not {_shown(value)}")
        return str(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise file.fail(label, f"{_wanted(parameter)}, not {_shown(value)}")
    takes_number = _is_numeric(parameter) or parameter.metavar in _NUMERIC_METAVARS
    if not takes_number and not isinstance(value, str):
        raise file.fail(label, f"{_wanted(parameter)}, not {_shown(value)}")
    return str(value)


def _is_numeric(parameter: Option) -> bool:
    return parameter.metavar in {"N", "X"} or parameter.type.name.startswith(("int", "float"))


def _wanted(parameter: Option) -> str:
    if _is_numeric(parameter):
        return "a number"
    return "a text or a list of texts" if parameter.multiple else "a text"


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)[:80]


def _unknown(key: str, known: Iterable[str]) -> str:
    nearest = get_close_matches(key.replace("_", "-"), list(known), n=1, cutoff=0.6)
    meant = f"did you mean {nearest[0]}?" if nearest else "maxwhisper config lists what there is"
    return f"not a setting; {meant}"
