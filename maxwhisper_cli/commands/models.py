"""Command `maxwhisper models`: lists named models and their location here."""

import json
from pathlib import Path
from typing import Annotated

import typer

from maxwhisper_cli.console import Column, Terminal

_COLUMNS = (
    Column("name", is_name=True),
    Column("size", is_number=True),
    Column("languages", is_number=True),
    Column("here", is_name=True),
)


def models(
    model_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of weights, instead of the cache folder."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the models known by name, and which are here."""
    from weights.models import NAMED_MODELS
    from weights.resolve import locate

    locations = {name: locate(name, model_dir=model_dir) for name in NAMED_MODELS}
    if as_json:
        listed = [
            {
                "name": name,
                "stands_for": model.name if model.name != name else None,
                "bytes": model.n_bytes,
                "languages": model.n_languages,
                "path": str(location.path) if (location := locations[name]) else None,
                "origin": location.origin if location else None,
            }
            for name, model in NAMED_MODELS.items()
        ]
        Terminal().document(json.dumps(listed, indent=2, ensure_ascii=False) + "\n")
        return
    rows = [
        (
            name if model.name == name else f"{name} = {model.name}",
            f"{model.n_bytes / 1e6:,.0f} MB",
            "English" if model.n_languages == 1 else str(model.n_languages),
            location.origin if (location := locations[name]) else "no",
        )
        for name, model in NAMED_MODELS.items()
    ]
    terminal = Terminal()
    terminal.table(_COLUMNS, rows)
    for name, location in locations.items():
        if location is not None:
            terminal.line(f"{name}: {location.path}")


def add_to(app: typer.Typer) -> None:
    """Registers the command in an application."""
    app.command()(models)
