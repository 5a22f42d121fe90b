"""Runs one implementation's worker and hears what it says; never two at a time.

A worker that dies is an outcome like any other, with what it said last; nothing it measured before
is kept then, so that no failure ever shows a time.
"""

import signal
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Literal

import msgspec

from implementations import registry
from maxwhisper_cli.compare.messages import (
    Finished,
    Job,
    Loaded,
    Measured,
    Measurement,
    Message,
    Stopped,
)
from weights.helper_process import helper_environment, module_command

Status = Literal["ok", "unavailable", "failed"]
OnMessage = Callable[[Message], None]

_WORKER = "maxwhisper_cli.compare.worker"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one implementation."""

    implementation: str
    """The candidate's label."""
    status: Status
    reason: str | None = None
    """Why it is not ok."""
    loaded: Loaded | None = None
    measurements: tuple[Measurement, ...] = ()
    """One for each recording where it is ok, none otherwise."""
    finished: Finished | None = None


@dataclass(slots=True)
class _Heard:
    """What a worker has said so far."""

    loaded: Loaded | None = None
    measurements: list[Measurement] = field(default_factory=list)
    finished: Finished | None = None
    stopped: Stopped | None = None

    def take(self, message: Message) -> None:
        if isinstance(message, Loaded):
            self.loaded = message
        elif isinstance(message, Measured):
            self.measurements.append(message.measurement)
        elif isinstance(message, Finished):
            self.finished = message
        elif isinstance(message, Stopped):
            self.stopped = message


def run_job(job: Job, on_message: OnMessage, worker: str = _WORKER) -> Outcome:
    """Runs a worker to its end.

    Args:
        job: What it does.
        on_message: Told everything the worker says, as it says it.
        worker: The module that is run.

    Raises:
        ImplementationUnavailableError: no implementation has that name.
    """
    label = job.candidate.label
    reason = registry.unavailable_because(job.candidate.implementation)
    if reason is not None:
        return Outcome(label, "unavailable", reason)
    heard = _Heard()
    with tempfile.TemporaryFile() as errors:
        exit_code = _converse(job, worker, errors, heard, on_message)
        return _outcome(label, heard, exit_code, _last_line(errors))


def _converse(
    job: Job, worker: str, errors: IO[bytes], heard: _Heard, on_message: OnMessage
) -> int:
    process = subprocess.Popen(
        module_command(worker),
        env=helper_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    decoder = msgspec.json.Decoder(Message)
    try:
        with suppress(BrokenPipeError), process.stdin as stdin:  # it may have died already
            stdin.write(msgspec.json.encode(job))
        with process.stdout as stdout:
            for line in stdout:
                message = decoder.decode(line)
                heard.take(message)
                on_message(message)
        return process.wait()
    finally:
        process.kill()
        process.wait()


def _outcome(implementation: str, heard: _Heard, exit_code: int, last_line: str) -> Outcome:
    if heard.stopped is not None:
        status: Status = "unavailable" if heard.stopped.is_unavailable else "failed"
        return Outcome(implementation, status, heard.stopped.reason)
    if exit_code != 0 or heard.finished is None or heard.loaded is None:
        said = last_line or "it said nothing"
        return Outcome(implementation, "failed", f"its process {_how_it_ended(exit_code)}: {said}")
    return Outcome(
        implementation,
        "ok",
        loaded=heard.loaded,
        measurements=tuple(heard.measurements),
        finished=heard.finished,
    )


def _how_it_ended(exit_code: int) -> str:
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    hint = ", perhaps for want of memory" if -exit_code == signal.SIGKILL else ""
    return f"was ended by {signal.Signals(-exit_code).name}{hint}"


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
