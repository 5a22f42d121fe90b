"""Record of a run: its files that are done already, those done now, and those left."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from maxwhisper_cli.captions.captions import CaptionOptions
from maxwhisper_cli.commands.loading import Loading
from maxwhisper_cli.commands.outcome import Outcome
from maxwhisper_cli.commands.sinks import Sink
from maxwhisper_cli.inputs.input import Input
from maxwhisper_cli.inputs.remote import Remote
from maxwhisper_cli.inputs.state import Done, DoneRecordings, content_key, excerpt_key
from maxwhisper_cli.transcription.options import AUTO_ROWS, OptionsError, TranscribeOptions
from maxwhisper_cli.writers.files import Outputs, write_atomically
from weights.cache import expanded

if TYPE_CHECKING:
    from maxwhisper_cli.audio.reader import ReadingOptions

_Stat = tuple[int, int, int]


@dataclass(slots=True)
class Resuming:
    """Record of a run into one output folder."""

    folder: Path
    remote: Remote
    skips: bool
    """True if what is done is left out."""
    _done: DoneRecordings | None = None
    _stats: dict[str, _Stat | None] = field(default_factory=dict)
    """State of each file before it is read, by its path."""

    def begin(self, options: Mapping[str, object]) -> None:
        """Sets what the transcripts depend on, and reads what is done."""
        self._done = DoneRecordings(self.folder, options)
        if self.skips:
            self._done.load()

    def done_before(self, each: Input, sink: Sink) -> Done | None:
        """Returns the record of an input that an earlier run has done; copies if it was renamed."""
        if each.scheme is None:
            self._stats[each.source] = _state(each.path)
        if not self.skips or self._done is None or not isinstance(sink, Outputs):
            return None
        key = self._key(each)
        return None if key is None else self._done.reuse(key, _by_format(sink))

    def add(self, each: Input, sink: Sink, outcome: Outcome) -> None:
        """Records an input whose outputs are in place, unless it has changed meanwhile."""
        if self._done is None or not isinstance(sink, Outputs):
            return
        key = self._key(each)
        if each.scheme is None and self._stats.get(each.source) != _state(each.path):
            return
        if key is None or any(not path.is_file() for path in sink.paths):  # a pipe, or a device
            return
        language = outcome.transcript.language if outcome.transcript else ""
        self._done.add(key, _by_format(sink), outcome.transcribed_seconds, language)

    def _key(self, each: Input) -> str | None:
        if each.scheme is None:
            return content_key(each, each.path)
        version = self.remote.version(each)
        return None if version is None else excerpt_key(each, version)


def make_resuming(
    folder: str | None, remote: Remote, n_inputs: int, *, skips: bool, forces: bool
) -> Resuming | None:
    """Returns the record of a run, where several files are written or it is wanted.

    Args:
        folder: The output folder; None for stdout.
        remote: Opens addresses.
        n_inputs: Number of inputs.
        skips: Value of `--resume`.
        forces: Value of `--force`.

    Raises:
        OptionsError: These do not go together.
    """
    if skips and forces:
        raise OptionsError("--resume skips what is done, and --force does it again: give one")
    if skips and folder is None:
        raise OptionsError("--resume needs outputs in files, and stdout has none")
    if folder is None or (n_inputs == 1 and not skips):
        return None
    return Resuming(Path(folder), remote, skips)


def options_record(
    loading: Loading,
    options: TranscribeOptions,
    reading: "ReadingOptions",
    captions: CaptionOptions,
    model_name: str | None,
) -> dict[str, object]:
    """Returns all that a transcript depends on besides the recording, for a hash.

    Neither implementation nor device is part of it, so that another machine may go on.
    """
    from maxwhisper_cli.version import program_version  # slow to import

    rows = 1 if options.batch_size in {1, AUTO_ROWS} else 2  # the text depends on cuts alone
    return {
        "model": _model_identity(loading.model) or model_name,
        "dtype": loading.dtype,
        "options": asdict(replace(options, batch_size=rows)),
        "reading": {name: str(value) for name, value in reading.items()},
        "captions": asdict(captions),
        "version": program_version(),
    }


def write_summary(
    path: Path | None,
    inputs: Sequence[tuple[Input, Sink]],
    outcomes: Mapping[int, Outcome],
) -> None:
    """Writes a line of JSON for each input: `done`, `done before`, `failed` or `left`.

    Raises:
        OutputError: It cannot be written.
    """
    if path is None:
        return
    lines = (
        json.dumps(_entry(each, sink, outcomes.get(index)), ensure_ascii=False) + "\n"
        for index, (each, sink) in enumerate(inputs)
    )
    write_atomically(path, "".join(lines))


def _entry(each: Input, sink: Sink, outcome: Outcome | None) -> dict[str, object]:
    entry: dict[str, object] = {"path": each.source}
    if outcome is None:
        return {**entry, "status": "left"}
    if outcome.error is not None:
        return {**entry, "status": "failed", "error": str(outcome.error)}
    language = outcome.language_before
    if outcome.transcript is not None:
        language = outcome.transcript.language
    paths: Iterable[Path] = sink.paths if isinstance(sink, Outputs) else ()
    return {
        **entry,
        "status": "done before" if outcome.is_done_before else "done",
        "audio_seconds": round(outcome.transcribed_seconds, 3),
        "wall_seconds": round(outcome.wall_seconds, 3),
        "language": language,
        "outputs": [str(path) for path in paths],
    }


def _by_format(outputs: Outputs) -> dict[str, Path]:
    return {writer.name: path for writer, path in zip(outputs.writers, outputs.paths, strict=True)}


def _state(path: Path) -> _Stat | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _model_identity(model: str | None) -> str | None:
    """Returns a model's name, or the state of the files at its path."""
    if model is None:
        return None
    path = Path(os.path.realpath(expanded(Path(model))))
    if not path.exists():
        return model
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return " ".join(str((each.name, _state(each))) for each in files)
