"""kill -9 at random moments of a run over files, and what a run with --resume then makes of it.

    python -m tests.benchmarks.kill_campaign [--kills 200] [--minutes 60] [--model tiny.en]

Without `--model` a scripted one says the same in every window, which takes less time to load.

An undisturbed run over 20 short recordings gives the outputs to expect. Then runs with `--resume`
are killed, each at a random moment, until so many were killed; whenever one ends by itself, its
outputs must be those expected, byte for byte, and the folder is emptied. After each kill every
output that is there must be whole: one of those expected. Exit code 1 if anything was otherwise.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import soundfile

from maxwhisper_cli.inputs.state import FILE_NAME
from maxwhisper_cli.samples import fetch_samples

SCRIPTED = """
import time
from maxwhisper_cli import __main__, model
from tests.support.fake_models import FakeModels, says

fakes = FakeModels()
speaking = says(" Hello.", fakes.dims)

def script(request):
    time.sleep(0.02)
    return speaking(request)

fakes.script = script
model.load = fakes.load
__main__.main()
"""
N_FILES = 20
SECONDS = 1.5


def main() -> int:
    """Runs the campaign, and prints its counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model")
    parser.add_argument("--minutes", type=float, default=1e9, help="end earlier after so long")
    given = parser.parse_args()
    chosen = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Path(folder), given.model)
        began = time.monotonic()
        campaign.expect()
        whole = time.monotonic() - began
        end = began + 60 * given.minutes
        while campaign.n_killed < given.kills and not campaign.faults and time.monotonic() < end:
            campaign.run(chosen.uniform(0.0, 1.2 * whole))
        campaign.run(None)
    counts = (
        f"{campaign.n_killed} kills",
        f"{campaign.n_ended} runs that ended",
        f"{campaign.n_whole} outputs looked at",
        f"{campaign.n_parts} temporary files left behind",
        f"{len(campaign.faults)} faults",
    )
    lines = [", ".join(counts), *campaign.faults]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return bool(campaign.faults)


class Campaign:
    """Recordings, the outputs to expect of them, and counts."""

    def __init__(self, folder: Path, model: str | None) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.model = model
        self.expected: dict[str, bytes] = {}
        self.faults: list[str] = []
        self.n_killed = self.n_ended = self.n_whole = self.n_parts = 0
        samples, rate = soundfile.read(fetch_samples(["jfk"])["jfk"])
        (folder / "in").mkdir()
        for number in range(N_FILES):
            start = int(number * 0.4 * rate)
            part = samples[start : start + int(SECONDS * rate)]
            soundfile.write(folder / "in" / f"{number:02d}.wav", part, rate)

    def command(self) -> list[str]:
        """Returns the command that is killed."""
        model = self.model or "tiny.en"
        options = ["--model", model, "--impl", "cpu", "--threads", "1", "--beam-size", "1"]
        place = ["-o", str(self.out), "-f", "txt,json", "-q", "--resume"]
        program = ["-c", SCRIPTED] if self.model is None else ["-m", "maxwhisper_cli"]
        start = [sys.executable, *program, "transcribe", str(self.folder / "in")]
        return [*start, *options, *place]

    def expect(self) -> None:
        """Makes the outputs of an undisturbed run."""
        subprocess.run(self.command(), check=True)
        self.expected = {path.name: path.read_bytes() for path in self.outputs()}
        assert len(self.expected) == 2 * N_FILES
        shutil.rmtree(self.out)

    def outputs(self) -> list[Path]:
        """Returns the outputs that are there."""
        found = self.out.iterdir() if self.out.is_dir() else ()
        return [path for path in found if not path.name.startswith(".")]

    def run(self, seconds: float | None) -> None:
        """Runs the command and kills it after a time; None lets it end."""
        process = subprocess.Popen(self.command(), stderr=subprocess.PIPE, text=True)
        try:
            _, error = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            self.n_killed += 1
            self.check(is_complete=False)
            return
        self.n_ended += 1
        if process.returncode != 0:
            self.faults.append(f"exit code {process.returncode}: {error.strip()}")
        self.check(is_complete=True)
        names = {path.name for path in self.out.iterdir()} - {FILE_NAME}
        self.n_parts += sum(name.startswith(".") for name in names)
        shutil.rmtree(self.out)

    def check(self, *, is_complete: bool) -> None:
        """Compares all outputs with those expected."""
        found = {path.name: path.read_bytes() for path in self.outputs()}
        self.n_whole += len(found)
        for name, data in found.items():
            if data != self.expected.get(name):
                self.faults.append(f"{name} is not as expected after {self.n_killed} kills")
        if is_complete and found.keys() != self.expected.keys():
            self.faults.append(f"missing: {sorted(self.expected.keys() - found.keys())}")


if __name__ == "__main__":
    sys.exit(main())
