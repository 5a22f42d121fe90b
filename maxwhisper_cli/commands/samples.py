"""What `maxwhisper samples` and `maxwhisper samples fetch` do, apart from reading their options."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from maxwhisper_cli.samples import fetch_samples, load_manifest, samples_folder

if TYPE_CHECKING:
    from rich.console import Console


def list_samples(console: "Console") -> None:
    """Print the table of samples and which of them are here."""
    from rich.table import Table

    table = Table("name", "language", "seconds", "sound", "here", "what")
    table.columns[0].no_wrap = True
    for sample in load_manifest():
        is_here = (samples_folder() / sample.file).is_file()
        table.add_row(
            sample.name,
            sample.language,
            f"{sample.seconds:.1f}",
            f"{sample.sample_rate / 1000:g} kHz x {sample.n_channels}",
            "yes" if is_here else "no",
            f"{sample.about} ({sample.licence})",
        )
    console.print(table)


def fetch(names: Sequence[str], console: "Console") -> None:
    """Fetch the named samples, or all of them, and print where each one is."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        tasks = {}

        def show(archive: str, n_bytes: int, n_total: int | None) -> None:
            if archive not in tasks:
                tasks[archive] = bars.add_task(archive, total=n_total)
            bars.update(tasks[archive], completed=n_bytes, total=n_total)

        paths = fetch_samples(names or None, show)
    for name, path in paths.items():
        console.print(f"{name}  {path}", soft_wrap=True, highlight=False)
