"""A worker that does what the job's model is called; run as a program by tests of the runner."""

import os
import signal
import sys
import time
from pathlib import Path

import msgspec

from maxwhisper_cli.compare.messages import Finished, Job, Loaded, Measured, Message, Stage, Stopped
from tests.compare.outcomes import measured


def main() -> None:
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    say(Stage("loading"))
    if job.model == "goes on":
        time.sleep(2)
        Path(job.files[0]).touch()
    if job.model == "unavailable":
        say(Stopped("it needs what is not here", is_unavailable=True))
        return
    say(Loaded("cpu", "float32", 1.0, 0.0, False, False, 99))
    for file in job.files:
        say(Measured(measured(file)))
    if job.model == "refuses":
        say(Stopped("the recording is broken", is_unavailable=False))
        return
    if job.model == "raises":
        raise RuntimeError("deep inside")
    if job.model == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if job.model == "leaves":
        return
    say(Finished(512.0, None))


def say(message: Message) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
