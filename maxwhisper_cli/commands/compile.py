"""Command `maxwhisper compile`: compiles ahead of time the graphs of implementations."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from implementations import gpu_targets, nvidia, registry
from implementations.errors import ImplementationUnavailableError
from maxwhisper_cli import cli_options as cli
from maxwhisper_cli.commands.option_parsing import parse_device
from maxwhisper_cli.console import Terminal
from maxwhisper_cli.transcription.options import OptionsError
from maxwhisper_cli.upstream_style import UpstreamCommand, as_command

if TYPE_CHECKING:
    from maxwhisper_cli.activity import Activity
    from weights.checkpoint import Checkpoint

_COMPILED = tuple(entry.name for entry in registry.ENTRIES if entry.compiles)

Impls = Annotated[
    str | None,
    typer.Option(
        "--impl",
        metavar="NAMES",
        help=f"{' or '.join(_COMPILED)}, or several as a,b; all that can run here if not given.",
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="TARGET",
        help="What --device is, where that is not in this machine: a GPU by its name (RTX 4090) or "
        "architecture (cuda:sm_89); host, this machine's CPU.",
    ),
]


WindowSeconds = Annotated[
    float | None,
    typer.Option(
        "--window-seconds",
        min=10,
        max=30,
        metavar="SECONDS",
        show_default="30",
        help="Audio at once: 15 is what `listen` takes on a CPU.",
    ),
]


@dataclass(frozen=True, slots=True)
class Compile:
    """Compile MAX graphs ahead of time, once for all models of the same sizes.

    Without it the first run does so. `maxwhisper cache` shows what is there.
    """

    impl: Impls = None
    model: cli.Model = None
    model_dir: cli.ModelDir = None
    offline: cli.Offline = False
    device: cli.Device = None
    target: Target = None
    dtype: cli.Dtype = "auto"
    window_seconds: WindowSeconds = None

    def run(self) -> None:
        """Compiles for each implementation in turn."""
        classes = [registry.implementation_class(name) for name in self._names()]
        targets = [self._target(implementation.name) for implementation in classes]
        terminal = Terminal()
        with terminal.activity(is_wanted_when_piped=True) as activity:
            from implementations.options import LoadOptions
            from maxwhisper_cli.activity import headline

            def on_compile(message: str) -> None:
                terminal.note(message)
                activity.show(headline(message))

            name, checkpoint = self._checkpoint(activity, terminal)
            if self.window_seconds is not None:
                from weights.audio_context import positions_of, shorten_audio_context

                checkpoint = shorten_audio_context(checkpoint, positions_of(self.window_seconds))
            options = LoadOptions(self.device, self.dtype, on_compile=on_compile)
            # The last first: it compiles most, at once, and the others find their part of it.
            for implementation, target in reversed(list(zip(classes, targets, strict=True))):
                implementation.compile(checkpoint, options, target)
        made = " and ".join(implementation.name for implementation in classes)
        by_name = "" if self.target in {None, *targets} else f" on {targets[0]}"
        terminal.line(f"{name}: compiled for {made}{by_name}")

    def _names(self) -> list[str]:
        """Returns the implementations to compile for."""
        if self.impl is None:
            able = [name for name in _COMPILED if registry.unavailable_because(name) is None]
            return able or [_COMPILED[-1]]  # whose error explains why it cannot run
        names = list(dict.fromkeys(part.strip() for part in self.impl.split(",")))
        if unknown := [name for name in names if name not in _COMPILED]:
            raise OptionsError(
                f"--impl: {unknown[0]!r} compiles nothing; {' and '.join(_COMPILED)} do"
            )
        return names

    def _target(self, name: str) -> str:
        """Returns the target to compile an implementation for."""
        target = self.target and _parse_target(self.target)
        device = parse_device(self.device) or registry.default_device(name)
        if target is None:
            target = registry.compile_target(device)
            if target is None:
                raise ImplementationUnavailableError(
                    f"--device {device} cannot be used: {nvidia.no_max_gpu_because(device)}; "
                    "--target 'RTX 4090' compiles for another machine's"
                )
            return target
        if self.device is not None and (target == "host") != (device == "cpu"):
            raise OptionsError(f"--target {self.target} is not what --device {device} is")
        return target

    def _checkpoint(self, activity: "Activity", terminal: Terminal) -> tuple[str, "Checkpoint"]:
        """Returns the model's name, given or chosen, and the model."""
        from weights.default_model import DEFAULT_MODEL, choose_default
        from weights.resolve import load

        name = self.model or DEFAULT_MODEL
        activity.show(f"loading {name}")
        progress = partial(activity.show_download, name)
        if self.model is None:
            chosen = choose_default(
                model_dir=self.model_dir,
                offline=self.offline,
                progress=progress,
                on_note=terminal.warning,
            )
            name = chosen.name
        return name, load(name, model_dir=self.model_dir, offline=self.offline, progress=progress)


def add_to(app: typer.Typer) -> None:
    """Registers the command in an application."""
    app.command("compile", cls=UpstreamCommand)(as_command(Compile))


def _parse_target(text: str) -> str:
    """Returns the target of that name.

    Raises:
        OptionsError: There is none.
    """
    target = text if text in registry.COMPILE_TARGETS else gpu_targets.parse_target(text)
    if target is None:
        known = ", ".join(registry.COMPILE_TARGETS)
        raise OptionsError(
            f"--target: {text!r} is not known; name a GPU, such as RTX 4090, or choose {known}"
        )
    return target
