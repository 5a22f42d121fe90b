"""Command `maxwhisper implementations`: lists them and their availability, without imports."""

import json
from typing import Annotated

import typer

from implementations import registry
from maxwhisper_cli.console import Column, Terminal

_COLUMNS = (
    Column("name", is_name=True),
    Column("encoder", is_name=True),
    Column("decoder", is_name=True),
    Column("device"),
    Column("available"),
)


def implementations(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List what can run a model, and whether it can here."""
    reasons = {entry: registry.unavailable_because(entry.name) for entry in registry.ENTRIES}
    if as_json:
        listed = [
            {
                "name": entry.name,
                "encoder": entry.encoder,
                "decoder": entry.decoder,
                "device": entry.device,
                "available": reason is None,
                "unavailable_because": reason,
                "install": entry.install,
            }
            for entry, reason in reasons.items()
        ]
        Terminal().document(json.dumps(listed, indent=2, ensure_ascii=False) + "\n")
        return
    rows = [
        (
            entry.name,
            entry.encoder,
            entry.decoder,
            entry.device,
            f"no: {reason}" if reason else "yes",
        )
        for entry, reason in reasons.items()
    ]
    Terminal().table(_COLUMNS, rows)
