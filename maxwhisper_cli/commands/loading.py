"""Load a model for a command, and tell meanwhile what takes time and what goes wrong."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from implementations import registry
from maxwhisper_cli.console import Terminal
from maxwhisper_cli.transcription.stopwatch import STOPPED, Stopwatch

if TYPE_CHECKING:
    from maxwhisper_cli.model import Model


@dataclass(frozen=True, slots=True)
class Loading:
    """Which model, and what runs it."""

    model: str
    impl: str
    device: str | None
    dtype: str | None
    n_threads: int
    model_dir: Path | None
    is_offline: bool
    stopwatch: Stopwatch = STOPPED


def load_model(loading: Loading, terminal: Terminal) -> "Model":
    """Load the model, telling what takes time: importing, downloading, compiling."""
    with terminal.activity() as activity:
        where = "" if loading.impl == registry.AUTO else f" on {loading.impl}"
        activity.show(f"loading {loading.model}{where}")
        with loading.stopwatch.on("imports"):
            from maxwhisper_cli.activity import headline
            from maxwhisper_cli.model import load

        told: set[str] = set()

        def tell(what: str) -> None:
            if not activity.is_live and what not in told:
                told.add(what)
                terminal.note(what)

        def on_download(n_done: int, n_total: int) -> None:
            tell(f"downloading {loading.model}, {n_total / 1e6:.0f} MB")
            activity.show_download(loading.model, n_done, n_total)

        def on_compile(what: str) -> None:
            terminal.note(what)
            activity.show(headline(what))

        model = load(
            loading.model,
            loading.impl,
            device=loading.device,
            dtype=loading.dtype,
            n_threads=loading.n_threads,
            model_dir=loading.model_dir,
            offline=loading.is_offline,
            on_download=on_download,
            on_compile=on_compile,
            stopwatch=loading.stopwatch,
        )
    for note in model.notes:
        terminal.warning(note)
    if model.hint is not None:
        terminal.note(f"running on {model.implementation.name}; {model.hint}")
    return model
