"""Rich's consoles for stdout and stderr, set up so that nothing is taken from the environment.

`console` imports this where something is drawn.
"""

from collections.abc import Callable
from typing import Literal, TypedDict

from rich.console import Console


class _Settings(TypedDict):
    """Settings of rich's Console, which it would else take from the environment."""

    force_terminal: bool
    force_interactive: bool | None
    force_jupyter: bool
    markup: bool
    highlight: bool
    emoji: bool
    color_system: Literal["auto", "standard"] | None


class _ResultsConsole(Console):
    """Console of stdout, whose reader may leave."""

    def __init__(self, settings: _Settings, on_broken_pipe: Callable[[], None]) -> None:
        super().__init__(**settings)
        self._on_broken_pipe = on_broken_pipe

    def on_broken_pipe(self) -> None:
        """Drops what follows; what else happens is the caller's."""
        self.quiet = True
        self._on_broken_pipe()


def results_console(
    *, is_terminal: bool, has_colour: bool, on_broken_pipe: Callable[[], None]
) -> Console:
    """Returns the console of stdout; in a pipe it has no layout, whatever its colour."""
    settings = _settings(is_terminal=is_terminal, has_colour=has_colour)
    return _ResultsConsole(settings, on_broken_pipe)


def errors_console(*, is_terminal: bool, has_colour: bool) -> Console:
    """Returns the console of stderr."""
    return Console(stderr=True, **_settings(is_terminal=is_terminal, has_colour=has_colour))


def _settings(*, is_terminal: bool, has_colour: bool) -> _Settings:
    piped: Literal["standard"] | None = "standard" if has_colour else None
    return {
        "color_system": "auto" if is_terminal else piped,
        "force_terminal": is_terminal,
        "force_interactive": None if is_terminal else False,
        "force_jupyter": False,
        "markup": False,
        "highlight": False,
        "emoji": False,
    }
