"""Execution of one implementation's worker, one at a time, and collection of its messages.

A worker that dies is an outcome like any other, with its last line of stderr; its measurements are
dropped, so that no failure ever shows a time.
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
    """Outcome of one implementation."""

    implementation: str
    """Label of the candidate."""
    status: Status
    reason: str | None = None
    """Reason if the status is not ok."""
    loaded: Loaded | None = None
    measurements: tuple[Measurement, ...] = ()
    """One measurement for each recording if the status is ok, else none."""
    finished: Finished | None = None


@dataclass(slots=True)
class _WorkerState:
    """Messages of a worker so far, by their kind."""

    loaded: Loaded | None = None
    measurements: list[Measurement] = field(default_factory=list)
    finished: Finished | None = None
    stopped: Stopped | None = None

    def update(self, message: Message) -> None:
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
        job: Job of the worker.
        on_message: Called with each message of the worker.
        worker: Module that is run.

    Raises:
        ImplementationUnavailableError: No implementation has that name.
    """
    label = job.candidate.label
    reason = registry.unavailable_because(job.candidate.implementation)
    if reason is not None:
        return Outcome(label, "unavailable", reason)
    state = _WorkerState()
    try:
        with tempfile.TemporaryFile() as errors:
            exit_code = _exchange_messages(job, worker, errors, state, on_message)
            return _outcome(label, state, exit_code, _last_line(errors))
    except OSError as error:
        return Outcome(label, "failed", f"its process cannot be started: {error.strerror or error}")


def _exchange_messages(
    job: Job, worker: str, errors: IO[bytes], state: _WorkerState, on_message: OnMessage
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
                state.update(message)
                on_message(message)
        return process.wait()
    finally:
        process.kill()
        process.wait()


def _outcome(implementation: str, state: _WorkerState, exit_code: int, last_line: str) -> Outcome:
    if state.stopped is not None:
        status: Status = "unavailable" if state.stopped.is_unavailable else "failed"
        return Outcome(implementation, status, state.stopped.reason)
    if exit_code != 0 or state.finished is None or state.loaded is None:
        detail = last_line or "it printed nothing"
        return Outcome(
            implementation, "failed", f"its process {_describe_exit(exit_code)}: {detail}"
        )
    return Outcome(
        implementation,
        "ok",
        loaded=state.loaded,
        measurements=tuple(state.measurements),
        finished=state.finished,
    )


def _describe_exit(exit_code: int) -> str:
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    hint = ", perhaps for lack of memory" if -exit_code == signal.SIGKILL else ""
    return f"was ended by {signal.Signals(-exit_code).name}{hint}"


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
