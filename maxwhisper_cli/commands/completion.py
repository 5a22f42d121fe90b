"""Command `maxwhisper completion`: installs or prints a shell's completion script."""

from typing import Annotated

import typer

from maxwhisper_cli.console import Terminal
from maxwhisper_cli.transcription.options import OptionsError

Shell = Annotated[
    str | None,
    typer.Argument(metavar="[SHELL]", help="bash, zsh or fish; your shell by default."),
]


def make_completion() -> typer.Typer:
    """Returns the commands under `maxwhisper completion`."""
    app = typer.Typer(
        no_args_is_help=True, help="Complete commands, options and values in your shell."
    )
    app.command("install")(_install)
    app.command("show")(_show)
    return app


def _install(shell: Shell = None) -> None:
    """Install completion for your shell; new shells have it."""
    from maxwhisper_cli.completion.scripts import install

    chosen = _chosen(shell)
    path, startup = install(chosen)
    terminal = Terminal()
    terminal.line(f"wrote {path}")
    if startup is not None:
        terminal.line(f"added a line to {startup}")
    terminal.note(f"start a new {chosen} to use it")


def _show(shell: Shell = None) -> None:
    """Print the script, to put it where you like."""
    from maxwhisper_cli.completion.scripts import SHELLS

    Terminal().document(SHELLS[_chosen(shell)]().script)


def _chosen(shell: str | None) -> str:
    from maxwhisper_cli.completion.scripts import SHELLS, current_shell

    chosen = shell or current_shell()
    if chosen not in SHELLS:
        given = f"{shell!r} is not known" if shell else "your shell is not known by SHELL"
        raise OptionsError(f"{given}; name one of {', '.join(SHELLS)}")
    return chosen


def add_to(app: typer.Typer) -> None:
    """Registers the command in an application."""
    app.add_typer(make_completion(), name="completion")
