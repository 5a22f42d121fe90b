"""Commands that are imported when they are named: a list of all needs only names and one line each.

A command's module has a function `add_to`, which registers it in a Typer application. It imports
what its options need; what its work needs is imported as it runs.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import cast

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """A command by its name, and its module."""

    name: str
    summary: str
    """First sentence of its help, as lists of commands show it."""
    module: str

    def load(self) -> TyperCommand:
        """Imports the module and returns the command."""
        app = typer.Typer(rich_markup_mode=None)
        app.callback()(_no_callback)  # with one, an application of one command is a group as well
        import_module(self.module).add_to(app)
        command = cast("TyperGroup", typer.main.get_command(app)).commands[self.name]
        command.help = command.help or self.summary  # `python -OO` has no docstrings
        return command  # type: ignore[return-value]


COMMANDS = (
    CommandEntry("transcribe", "Transcribe recordings.", "maxwhisper_cli.commands.transcribe"),
    CommandEntry(
        "listen", "Transcribe a microphone or a pipe live.", "maxwhisper_cli.commands.listen"
    ),
    CommandEntry(
        "serve",
        "Serve transcriptions over HTTP, as OpenAI's clients expect them.",
        "maxwhisper_cli.commands.serve",
    ),
    CommandEntry(
        "compare",
        "Compare implementations: time, memory and accuracy on the same recordings.",
        "maxwhisper_cli.commands.compare",
    ),
    CommandEntry(
        "parity",
        "Find where an implementation differs from cpu: weights, mel, encoder, logits, text.",
        "maxwhisper_cli.commands.parity",
    ),
    CommandEntry(
        "history",
        "Show how each implementation's time and accuracy moved over kept comparisons.",
        "maxwhisper_cli.commands.history",
    ),
    CommandEntry(
        "compile",
        "Compile MAX graphs ahead of time, once for all models of the same sizes.",
        "maxwhisper_cli.commands.compile",
    ),
    CommandEntry(
        "implementations",
        "List what can run a model, and whether it can here.",
        "maxwhisper_cli.commands.implementations",
    ),
    CommandEntry(
        "models",
        "List the models known by name, and which are here.",
        "maxwhisper_cli.commands.models",
    ),
    CommandEntry(
        "doctor",
        "Show what is installed, what works and what to do, on a page to paste into a bug report.",
        "maxwhisper_cli.commands.doctor",
    ),
    CommandEntry(
        "config",
        "Show each setting with its value and its source.",
        "maxwhisper_cli.commands.config",
    ),
    CommandEntry(
        "completion",
        "Complete commands, options and values in your shell.",
        "maxwhisper_cli.commands.completion",
    ),
    CommandEntry(
        "samples",
        "List or fetch recordings with known words.",
        "maxwhisper_cli.commands.samples",
    ),
    CommandEntry("cache", "Show or empty the cache folder.", "maxwhisper_cli.commands.cache"),
)


def unloaded_commands() -> dict[str, TyperCommand]:
    """Returns a stand-in for each command, which has its name and summary only."""
    return {
        entry.name: TyperCommand(entry.name, help=entry.summary, rich_markup_mode=None)
        for entry in COMMANDS
    }


def load_command(name: str) -> TyperCommand | None:
    """Returns a command, imported; None if there is none of that name."""
    return next((entry.load() for entry in COMMANDS if entry.name == name), None)


def _no_callback() -> None:
    pass
