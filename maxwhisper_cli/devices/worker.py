"""A device's process as its parent sees it: the recordings that it has, and how it ends."""

import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from typing import Any, Final

from maxwhisper_cli.devices.messages import Load, Ready
from weights.helper_process import helper_environment, module_command

_END_SECONDS: Final = 5.0
"""Longest wait for a process that is to end by itself."""


@dataclass(eq=False, slots=True)
class Worker:
    """A process of one device."""

    device: str
    """Name in messages."""
    process: "subprocess.Popen[bytes]"
    connection: "Connection[Any, Any]"
    ready: Ready | None = None
    """Model that it has loaded; None until then."""
    is_busy: bool = False
    """True from a job's beginning to its end."""
    given: set[int] = field(default_factory=set)
    """Recordings that it has not done yet, by index."""
    n_failures: int = 0
    """Recordings that failed in turn, for a reason that may be the device's."""

    def send(self, message: object) -> None:
        """Sends a message; a process that is gone is noticed where its messages are read."""
        with suppress(OSError):
            self.connection.send(message)

    def end(self) -> None:
        """Ends the process: by itself where it has nothing to do."""
        if self.ready is not None and not self.is_busy:
            self.send(None)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_END_SECONDS)
        self.kill()

    def kill(self) -> None:
        """Ends the process at once."""
        self.process.kill()
        self.process.wait()
        self.connection.close()

    def end_reason(self) -> str:
        """Waits for a process whose pipe has ended; returns how it ended."""
        try:
            code = self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        if code >= 0:
            return f"its process ended with exit code {code}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"its process was ended by {name}"


def start_worker(device: str, load: Load) -> Worker:
    """Starts the process of a device, in a group of its own that Ctrl-C does not reach.

    It has this process's standard input, since a recording may come from there.

    Args:
        device: Name of the device.
        load: Loads its model there.
    """
    here, there = Pipe()
    with there:
        descriptor = there.fileno()
        process = subprocess.Popen(
            module_command("maxwhisper_cli.devices.process", str(descriptor)),
            pass_fds=[descriptor],
            env=helper_environment(),
            process_group=0,
        )
    worker = Worker(device, process, here)
    worker.send(load)
    return worker
