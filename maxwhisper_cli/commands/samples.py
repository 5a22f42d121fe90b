"""Command `maxwhisper samples`: lists and fetches recordings with known text."""

from typing import Annotated

import typer

from maxwhisper_cli.console import Column, Terminal

_COLUMNS = (
    Column("name", is_name=True),
    Column("language"),
    Column("seconds", is_number=True),
    Column("sound"),
    Column("here"),
    Column("what"),
)


def make_samples() -> typer.Typer:
    """Returns the commands under `maxwhisper samples`."""
    samples = typer.Typer(
        invoke_without_command=True, help="List or fetch recordings with known words."
    )
    samples.callback()(list_samples)
    samples.command("fetch")(fetch)
    return samples


def list_samples(context: typer.Context) -> None:
    """List recordings with known words, and which are here."""
    if context.invoked_subcommand is not None:
        return
    from maxwhisper_cli.samples import load_manifest, samples_folder

    folder = samples_folder()
    rows = [
        (
            sample.name,
            sample.language,
            f"{sample.seconds:.1f}",
            f"{sample.sample_rate / 1000:g} kHz x {sample.n_channels}",
            "yes" if (folder / sample.file).is_file() else "no",
            f"{sample.about} ({sample.licence})",
        )
        for sample in load_manifest()
    ]
    Terminal().table(_COLUMNS, rows)


def fetch(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Which; all by default.")
    ] = None,
) -> None:
    """Fetch recordings into the cache folder, and print where they are."""
    from maxwhisper_cli.samples import fetch_samples

    terminal = Terminal()
    with terminal.activity(is_wanted_when_piped=True) as activity:
        paths = fetch_samples(names or None, activity.show_download)
    for name, path in paths.items():
        terminal.line(f"{name}  {path}")


def add_to(app: typer.Typer) -> None:
    """Registers the command in an application."""
    app.add_typer(make_samples(), name="samples")
