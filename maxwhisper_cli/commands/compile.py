"""`maxwhisper compile`: make ahead of time the graphs that implementations compile on first use."""

from dataclasses import dataclass
from typing import Annotated

import typer

from implementations import registry
from maxwhisper_cli import cli_options as cli
from maxwhisper_cli.console import Terminal
from maxwhisper_cli.transcription.options import OptionsError

_HOST = "host"
_COMPILED = ("hybrid", "full-max")
_ALL = "hybrid,full-max"

Impls = Annotated[
    str,
    typer.Option("--impl", metavar="NAMES", help="Implementations that compile, as a,b."),
]
Target = Annotated[
    str,
    typer.Option("--target", metavar="TARGET", help="What to compile for: host, this machine."),
]


@dataclass(frozen=True, slots=True)
class Compile:
    """Compile MAX graphs ahead of time, once for all models of the same sizes.

    Without it the first run does so. `maxwhisper cache` shows what is there.
    """

    impl: Impls = _ALL
    model: cli.Model = "turbo"
    model_dir: cli.ModelDir = None
    offline: cli.Offline = False
    target: Target = _HOST

    def run(self) -> None:
        """Compile for each implementation in turn."""
        names = list(dict.fromkeys(part.strip() for part in self.impl.split(",")))
        if unknown := [name for name in names if name not in _COMPILED]:
            raise OptionsError(
                f"--impl: {unknown[0]!r} compiles nothing; {' and '.join(_COMPILED)} do"
            )
        if self.target != _HOST:
            raise OptionsError(f"--target: {self.target!r} is not known; there is only {_HOST}")
        terminal = Terminal()
        with terminal.activity(is_wanted_when_piped=True) as activity:
            from implementations.base import LoadOptions
            from weights.resolve import load

            def on_download(n_done: int, n_total: int) -> None:
                detail = f"{n_done / 1e6:.1f}/{n_total / 1e6:.1f} MB"
                activity.show(f"downloading {self.model}", n_done, n_total, detail)

            def on_compile(words: str) -> None:
                activity.show(words)
                terminal.note(words)

            checkpoint = load(
                self.model, model_dir=self.model_dir, offline=self.offline, progress=on_download
            )
            options = LoadOptions(on_compile=on_compile)
            for name in names:
                registry.implementation_class(name).compile(checkpoint, options)
        terminal.line(f"{self.model}: compiled for {' and '.join(names)}")
