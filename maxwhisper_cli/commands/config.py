"""Command `maxwhisper config`: each setting with its value and its source."""

import json
from typing import Annotated

import typer

from maxwhisper_cli.configuration.explanation import DEFAULT, Explained, explain
from maxwhisper_cli.configuration.files import places
from maxwhisper_cli.configuration.settings import Settings
from maxwhisper_cli.console import Column, Terminal
from maxwhisper_cli.transcription.options import OptionsError

_COLUMNS = (Column("setting", is_name=True), Column("value"), Column("source"))
_MAX_SHOWN = 60


def config(
    context: typer.Context,
    command: Annotated[
        str, typer.Argument(metavar="[COMMAND]", help="Command whose options are shown.")
    ] = "transcribe",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, of every command.")] = False,
) -> None:
    """Show each setting with its value and its source.

    Sources are the command line, the environment, the project's, the user's and the system's file,
    and defaults; the first that sets an option wins.
    """
    settings = settings_of(context)
    settings.check_all()
    if as_json:
        document = json.dumps(_as_json(settings), indent=2, ensure_ascii=False)
        Terminal().document(f"{document}\n")
        return
    if command not in settings.commands():
        names = ", ".join(settings.commands())
        raise OptionsError(f"{command!r} has no settings; the commands that have are {names}")
    terminal = Terminal()
    for file in settings.found.files:
        terminal.line(f"{file.kind}: {file.path}")
    if not settings.found.files:
        terminal.line(f"no file was found; yours would be {places()[0]}")
    explained = explain(settings, command, settings.command(command))
    terminal.table(_COLUMNS, [(one.key, _shown(one.value), _source(one)) for one in explained])


def settings_of(context: typer.Context) -> Settings:
    """Returns the settings of the group that a command belongs to."""
    group = context.parent
    settings = group.default_map if group is not None else None
    return settings if isinstance(settings, Settings) else Settings(context)


def _as_json(settings: Settings) -> dict[str, object]:
    commands = {
        name: {
            one.key: {"value": one.value, "source": one.source, "from": one.place or None}
            for one in explain(settings, name, settings.command(name))
        }
        for name in settings.commands()
    }
    files = [{"path": str(file.path), "kind": file.kind} for file in settings.found.files]
    return {"files": files, "warnings": list(settings.found.warnings), "settings": commands}


def _shown(value: object) -> str:
    if value is None:
        return ""
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _source(explained: Explained) -> str:
    if explained.source == DEFAULT:
        return ""
    return explained.place if explained.source == "environment" else explained.source


def add_to(app: typer.Typer) -> None:
    """Registers the command in an application."""
    app.command()(config)
