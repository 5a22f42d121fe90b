"""Command `maxwhisper implementations`: lists them and the devices here, without frameworks."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from implementations import registry
from maxwhisper_cli.console import Column, Terminal

if TYPE_CHECKING:
    from implementations.devices import DeviceState
    from implementations.registry import Entry

_COLUMNS = (
    Column("name", is_name=True),
    Column("encoder", is_name=True),
    Column("decoder", is_name=True),
    Column("device"),
    Column("available"),
)
_DEVICE_COLUMNS = (
    Column("device", is_name=True),
    Column("name"),
    Column("memory"),
    Column("MAX graphs"),
    Column("PyTorch"),
)


def implementations(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List what can run a model, and whether it can here."""
    from implementations.devices import device_states

    reasons = {entry: registry.unavailable_because(entry.name) for entry in registry.ENTRIES}
    devices = device_states()
    terminal = Terminal()
    if as_json:
        listed = [_as_json(entry, reason, devices) for entry, reason in reasons.items()]
        terminal.document(json.dumps(listed, indent=2, ensure_ascii=False) + "\n")
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
    terminal.table(_COLUMNS, rows)
    terminal.line("")
    shown = {reason for reason in reasons.values() if reason is not None}
    terminal.table(_DEVICE_COLUMNS, [_device_row(state, shown) for state in devices])


def _device_row(state: "DeviceState", shown: set[str]) -> tuple[str, ...]:
    """Returns the cells of a device; a reason that is shown already is not repeated."""
    name = f"{state.name}, {state.architecture}" if state.architecture else state.name
    max_graphs = state.max_graphs if state.runs_max else f"no: {state.max_graphs}"
    torch = state.torch
    if not state.runs_torch:
        is_shown = torch in shown or torch == state.max_graphs
        torch = "no" if is_shown else f"no: {torch}"
    return state.device or "-", name, _memory(state), max_graphs, torch


def _memory(state: "DeviceState") -> str:
    """Returns the memory in words: `22.1 of 24.0 GiB free`."""
    if state.memory_bytes is None:
        return ""
    total = f"{state.memory_bytes / 2**30:.1f} GiB"
    return total if state.free_bytes is None else f"{state.free_bytes / 2**30:.1f} of {total} free"


def _as_json(
    entry: "Entry", reason: str | None, devices: tuple["DeviceState", ...]
) -> dict[str, Any]:
    kinds = [
        state
        for state in devices
        if (state.device or "cuda").partition(":")[0] in entry.device_kinds
    ]
    return {
        "name": entry.name,
        "encoder": entry.encoder,
        "decoder": entry.decoder,
        "device": entry.device,
        "available": reason is None,
        "unavailable_because": reason,
        "install": entry.install,
        "devices": [asdict(state) for state in kinds],
    }


def add_to(app: typer.Typer) -> None:
    """Registers the command in an application."""
    app.command()(implementations)
