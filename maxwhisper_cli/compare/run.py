"""Running a comparison: one implementation after the other, each in its own process."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from maxwhisper_cli.audio.reader import open_audio
from maxwhisper_cli.compare.assess import assess
from maxwhisper_cli.compare.board import Board
from maxwhisper_cli.compare.candidates import Candidate
from maxwhisper_cli.compare.machine import describe_machine
from maxwhisper_cli.compare.messages import Job
from maxwhisper_cli.compare.references import with_reference
from maxwhisper_cli.compare.results import (
    SCHEMA_VERSION,
    Comparison,
    ComparisonError,
    Recording,
    Work,
)
from maxwhisper_cli.compare.runner import Outcome, run_job
from maxwhisper_cli.version import program_version


def find_recordings(files: Sequence[str], references: Sequence[Path]) -> tuple[Recording, ...]:
    """Pairs recordings with their reference texts.

    Args:
        files: Recordings.
        references: A text file for each, in their order; or none, and then a `.txt` file beside a
            recording is its reference, unless it is a transcript of ours.

    Raises:
        ComparisonError: The numbers of files differ, or a text cannot be read.
        AudioError: A recording cannot be decoded.
    """
    if references and len(references) != len(files):
        raise ComparisonError(
            f"{len(references)} references for {len(files)} recordings: give --reference once for "
            "each recording, in their order"
        )
    if "-" in files:
        raise ComparisonError("compare reads each recording several times: give files, not -")
    for file in files:
        with open_audio(file):
            pass  # one that cannot be decoded fails here, before anything is timed
    chosen: Sequence[Path | None] = list(references) or [None] * len(files)
    return tuple(map(with_reference, files, chosen))


def run_comparison(
    work: Work, candidates: Sequence[Candidate], model_dir: Path | None, board: Board
) -> Comparison:
    """Runs every implementation and returns all results.

    Args:
        work: Work of each implementation; the model is on this machine already.
        candidates: The implementations, in the order in which they run.
        model_dir: Folder of weights, instead of the cache.
        board: Display of the progress.
    """
    created, machine = datetime.now(UTC), describe_machine()
    outcomes: list[Outcome] = []
    for candidate in candidates:
        job = Job(
            candidate=candidate,
            model=work.model,
            files=tuple(recording.file for recording in work.recordings),
            options=work.options,
            n_runs=work.n_runs,
            n_threads=work.n_threads,
            model_dir=str(model_dir) if model_dir else None,
        )
        board.start(candidate.label)
        outcomes.append(run_job(job, partial(board.on_message, candidate.label)))
        board.finish(outcomes[-1])
    return Comparison(
        schema_version=SCHEMA_VERSION,
        created=created.isoformat(timespec="seconds"),
        maxwhisper=program_version(),
        work=work,
        machine=machine,
        rows=assess(outcomes, work.recordings),
    )
