"""Steps of `model.load`: arguments, weights, and the implementation that runs them."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from implementations import registry
from implementations.choose import Choice, choose
from implementations.errors import ImplementationUnavailableError
from implementations.forking import mark_loaded, refuse_fork
from implementations.implementation import Implementation
from implementations.memory import translate_out_of_memory
from implementations.options import LoadOptions
from implementations.processor_threads import available_threads, default_threads
from maxwhisper_cli.transcription.option_types import OptionsError, text, whole
from maxwhisper_cli.transcription.stopwatch import Stopwatch
from weights.audio_context import shorten_audio_context
from weights.checkpoint import Checkpoint
from weights.default_model import choose_default
from weights.download import Progress
from weights.resolve import load as load_checkpoint

SWITCH = "MAXWHISPER_SELF_CHECK"
"""Environment variable that asks for checks on every device: see `self_check/gate.py`."""


def check_names(**names: object) -> None:
    """Checks arguments that are text or None.

    Raises:
        OptionsError: One is neither.
    """
    for name, value in names.items():
        if value is not None:
            text(name, value)


def check_can_run(impl: str, stopwatch: Stopwatch) -> None:
    """Imports the chosen implementation, so that its error comes before a download.

    Raises:
        ImplementationUnavailableError: It cannot run here.
    """
    if impl != registry.AUTO:
        with stopwatch.on("framework"):
            registry.implementation_class(impl)


def path_text(name: str, value: object) -> str:
    """Returns a path of any kind as text.

    Raises:
        OptionsError: It is none.
    """
    try:
        return os.fsdecode(value)  # type: ignore[arg-type]
    except TypeError:
        raise OptionsError(f"{name} must be a name or a path, not {value!r:.40}") from None


def fit_threads(n_threads: int) -> tuple[int, tuple[str, ...]]:
    """Returns the number of threads to use, and a note if it differs from the argument.

    Raises:
        OptionsError: It is no count.
    """
    wanted, available = whole("n_threads", n_threads, 0), available_threads()
    if wanted == 0:
        return default_threads(), ()
    if wanted <= available:
        return wanted, ()
    there_are = "there is 1" if available == 1 else f"there are {available}"
    return available, (f"of {wanted} threads {there_are} for this process; using {available}",)


def read_model(
    model: str | None,
    model_dir: Path | None,
    progress: Progress | None,
    *,
    offline: bool,
    is_english: bool,
    on_note: Callable[[str], None] | None,
) -> tuple[Checkpoint, tuple[str, ...]]:
    """Returns the weights of a model, or of the default one, with notes.

    Raises:
        WeightsError: The model does not exist, or cannot be read.
    """
    notes: tuple[str, ...] = ()
    if model is None:
        default = choose_default(
            model_dir=model_dir,
            offline=offline,
            is_english=is_english,
            progress=progress,
            on_note=on_note,
        )
        model, notes = default.name, default.notes
    checkpoint = load_checkpoint(model, model_dir=model_dir, offline=offline, progress=progress)
    return checkpoint, (*notes, *checkpoint.notes)


def load_implementation(
    checkpoint: Checkpoint,
    impl: str,
    options: LoadOptions,
    stopwatch: Stopwatch,
    *,
    self_check: bool,
) -> tuple[Implementation, str | None]:
    """Loads weights onto the chosen implementation; also returns advice on a faster one.

    Args:
        checkpoint: The weights.
        impl: Name of an implementation, or `auto`.
        options: Device, dtype and threads.
        stopwatch: Measures the steps.
        self_check: True checks one that is on a GPU of an unconfirmed kind.

    Raises:
        ImplementationUnavailableError: The implementation cannot run here.
    """
    refuse_fork()  # before anything asks for a GPU, which would hang in a fork
    checkpoint = shorten_audio_context(checkpoint, options.n_audio_ctx)
    if impl == registry.AUTO:
        return _load_fastest(checkpoint, options, stopwatch, self_check=self_check)
    placed = replace(options, device=options.device or registry.default_device(impl))
    choice = Choice(impl, placed, hint=None)
    return _load_chosen(checkpoint, choice, stopwatch, self_check=self_check), None


def _load_fastest(
    checkpoint: Checkpoint, options: LoadOptions, stopwatch: Stopwatch, *, self_check: bool
) -> tuple[Implementation, str | None]:
    """Loads the fastest implementation that is ready; also returns advice on a faster one.

    Some reasons against one, such as an old driver, appear only while it is loaded.
    """
    refused: dict[str, str] = {}
    while True:
        choice = choose(checkpoint, options, refused)
        try:
            loaded = _load_chosen(checkpoint, choice, stopwatch, self_check=self_check)
        except ImplementationUnavailableError as error:
            refused[choice.place] = str(error)
        else:
            return loaded, choice.hint


def _load_chosen(
    checkpoint: Checkpoint, choice: Choice, stopwatch: Stopwatch, *, self_check: bool
) -> Implementation:
    with stopwatch.on("framework"):
        implementation_class = registry.implementation_class(choice.name)
    registry.check_address_space(choice.name, checkpoint)
    with stopwatch.on("graphs and weights"):
        device = choice.options.device or "cpu"
        mark_loaded()
        with translate_out_of_memory(device, ImplementationUnavailableError):
            implementation = implementation_class.load(checkpoint, choice.options)
        report = implementation.load_report
        if report.import_seconds > 0:
            stopwatch.move("framework", report.import_seconds, 1)
        if report.compiled_seconds > 0:
            stopwatch.move("compiling", report.compiled_seconds, 1)
        if self_check and (implementation.device != "cpu" or SWITCH in os.environ):
            from maxwhisper_cli.self_check.gate import confirm

            notify = choice.options.on_compile or (lambda _line: None)
            confirm(implementation, checkpoint, choice.options, notify)
    return implementation
