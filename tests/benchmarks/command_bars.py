"""The sections `start` and `compile`: whole commands, from their start to their end.

`start`: `maxwhisper transcribe` of a short file with compiled graphs in the cache, by the command
of openai-whisper on the same file, both with their defaults (5 beams, all formats) and the same
number of threads. openai-whisper reads the file through soundfile instead of an ffmpeg program
(`whisper_command.py`), which leaves the start of that program out in its favour. One run of each
before those that count brings files into memory, and compiles where that was never done.

`compile`: everything that `full-max` needs, once, with this project's cache and MAX's own empty.
"""

import tempfile
from pathlib import Path

from tests.benchmarks.bars import Row, Setting
from tests.benchmarks.processes import maxwhisper_command, script_command, wall_seconds

IMPL = "full-max"
START_SECONDS_BAR = 1.6
START_RATIO_BAR = 0.35
COMPILE_SECONDS_BAR = 150
CLIP = "jfk"


def start_rows(setting: Setting) -> list[Row]:
    if IMPL not in setting.available:
        return []
    commands, outputs = start_commands(setting)
    for command in commands.values():
        wall_seconds(command)
    texts = {path.joinpath(f"{CLIP}.txt").read_text("utf-8").strip() for path in outputs}
    if len(texts) != 1:
        raise SystemExit(f"start: the texts differ, so times cannot be compared: {sorted(texts)}")
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(setting.n_runs):
        for name, command in commands.items():
            seconds[name].append(wall_seconds(command))
            setting.console.print(
                f"start, run {number + 1} of {setting.n_runs}, {name}: {seconds[name][-1]:.2f} s",
                highlight=False,
            )
    ours, theirs = seconds[IMPL], seconds["whisper"]
    return [
        Row("start", "whole command", "s", IMPL, ours, START_SECONDS_BAR),
        Row("start", "whole command", "s", IMPL, ours, START_RATIO_BAR, "whisper", theirs),
    ]


def start_commands(setting: Setting) -> tuple[dict[str, list[str]], list[Path]]:
    """The command of each side, and the folders that they write to."""
    folder = Path(setting.folder)
    outputs = [folder / "out-whisper", folder / "out-ours"]
    theirs, ours = (["-o", str(path), "--threads", str(setting.n_threads)] for path in outputs)
    clip = str(folder / f"{CLIP}.wav")
    return {
        "whisper": script_command(
            "whisper_command.py", clip, "--model", str(folder / "weights.pt"), *theirs
        ),
        IMPL: maxwhisper_command(
            "transcribe", clip, "--impl", IMPL, "--model", setting.model, *ours
        ),
    }, outputs


def compile_rows(setting: Setting) -> list[Row]:
    if IMPL not in setting.available:
        return []
    command = maxwhisper_command("compile", "--impl", IMPL, "--model", setting.model, "--offline")
    with tempfile.TemporaryDirectory() as name:
        empty = Path(name)
        seconds = wall_seconds(
            command,
            {
                "MAXWHISPER_CACHE": str(empty / "maxwhisper"),
                "MODULAR_CACHE_DIR": str(empty / "modular"),
                "XDG_CACHE_HOME": name,
                "TMPDIR": name,  # where MAX keeps compiled kernels from one run to the next
            },
        )
        if not list(empty.glob("maxwhisper/compiled/*.mef")):
            raise SystemExit("compile: the command left no compiled file")
    return [Row("cold", "compile", "s", IMPL, [seconds], COMPILE_SECONDS_BAR)]
