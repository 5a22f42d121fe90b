"""Value and source of each option of a command: environment, file or default."""

import os
from dataclasses import dataclass

from maxwhisper_cli.configuration.settings import (
    ENVIRONMENT_PREFIX,
    Command,
    Option,
    Settings,
    options_of,
)

DEFAULT = "default"
_OTHER_VARIABLES = frozenset(
    {"CACHE", "HISTORY", "CPU", "CONFIG_FILE", "NO_CONFIG", "SHARED_AUDIO", "LOG_LEVEL", "LOG_JSON"}
)
"""Variables of this program that are no option's."""


@dataclass(frozen=True, slots=True)
class Explained:
    """An option's value and its source."""

    key: str
    value: object
    source: str
    """`default`, `environment`, or the kind of a file: `project`, `user`, `system` or `chosen`."""
    place: str = ""
    """Name of the variable, or path of the file."""


def explain(settings: Settings, name: str, command: Command) -> list[Explained]:
    """Returns each option of a command with its value as long as the command line is silent.

    Raises:
        ConfigurationError: A setting of a file cannot be used.
    """
    from_files = settings.of(name) if settings.found.files else {}
    explained: list[Explained] = []
    for key, parameter in options_of(command).items():
        variable = _variable(parameter)
        if variable is not None:
            explained.append(Explained(key, os.environ[variable], "environment", variable))
        elif key in from_files:
            found = from_files[key]
            explained.append(Explained(key, found.value, found.file.kind, str(found.file.path)))
        else:
            explained.append(Explained(key, _default(parameter), DEFAULT))
    return explained


def unknown_variables(settings: Settings) -> list[str]:
    """Returns the set variables that begin as this program's, and are nothing to it."""
    known = {ENVIRONMENT_PREFIX + name for name in _OTHER_VARIABLES}
    for name in settings.commands():
        for parameter in options_of(settings.command(name)).values():
            given = parameter.envvar
            known.update([given] if isinstance(given, str) else given or ())
    return sorted(v for v in os.environ if v.startswith(ENVIRONMENT_PREFIX) and v not in known)


def _variable(parameter: Option) -> str | None:
    """Returns the variable that is set for an option; as click does, an empty one is not."""
    given = parameter.envvar
    variables = [given] if isinstance(given, str) else given or ()
    return next((variable for variable in variables if os.environ.get(variable)), None)


def _default(parameter: Option) -> object:
    shown = parameter.show_default
    if isinstance(shown, str):
        return shown
    default = parameter.default
    if default is None or isinstance(default, bool | int | float | list | tuple):
        return default
    return str(getattr(default, "value", default))
