"""The sections `start` and `compile`: whole commands, from their start to their end.

`start`: `maxwhisper transcribe` of a short file with compiled graphs in the cache: greedy in the
dtype that `auto` takes, and in float32 with 5 beams and all formats, as openai-whisper's command
does by default; that is run on the same file with the same number of threads. It reads the file
through soundfile instead of an ffmpeg program (`whisper_command.py`), which leaves the start of
that program out in its favour. One run of each before those that count brings files into memory,
and compiles where that was never done.

`compile`: everything that `full-max` needs in float32, and for `auto`, once each, with this
project's cache and MAX's own empty.
"""

import tempfile
from pathlib import Path

from tests.benchmarks.bars import Row, Setting
from tests.benchmarks.processes import maxwhisper_command, script_command, wall_seconds
from tests.benchmarks.rounds import take_turns

IMPL = "full-max"
GREEDY = f"{IMPL}, greedy"
START_BARS = {IMPL: 1.6, GREEDY: 1.0}
"""In seconds."""
START_RATIO_BAR = 0.35
COMPILE_BARS = {"float32": 150, "auto": 120}
"""In seconds, by dtype."""
CLIP = "jfk"


def start_rows(setting: Setting) -> list[Row]:
    if IMPL not in setting.available:
        return []
    commands, outputs = start_commands(setting)
    for command in commands.values():
        wall_seconds(command)
    same = (path for path in outputs if path.name != "out-greedy")
    texts = {path.joinpath(f"{CLIP}.txt").read_text("utf-8").strip() for path in same}
    if len(texts) != 1:
        raise SystemExit(f"start: the texts differ, so times cannot be compared: {sorted(texts)}")
    seconds = take_turns(
        setting, "start", commands, lambda name: wall_seconds(commands[name]), "{:.2f} s".format
    )
    ours, theirs = seconds[IMPL], seconds["whisper"]
    return [
        *(
            Row("start", "whole command", "s", name, seconds[name], bar)
            for name, bar in START_BARS.items()
        ),
        Row("start", "whole command", "s", IMPL, ours, START_RATIO_BAR, "whisper", theirs),
    ]


def start_commands(setting: Setting) -> tuple[dict[str, list[str]], list[Path]]:
    """The command of each side, and the folders that they write to."""
    folder = Path(setting.folder)
    outputs = [folder / f"out-{name}" for name in ("whisper", "ours", "greedy")]
    threads = ["--threads", str(setting.n_threads)]
    theirs, ours, greedy = (["-o", str(path), *threads] for path in outputs)
    clip = str(folder / f"{CLIP}.wav")
    command = maxwhisper_command("transcribe", clip, "--impl", IMPL, "--model", setting.model)
    return {
        "whisper": script_command(
            "whisper_command.py", clip, "--model", str(folder / "weights.pt"), *theirs
        ),
        IMPL: [*command, "--dtype", "float32", *ours],
        GREEDY: [*command, "--dtype", "auto", "--beam-size", "None", *greedy],
    }, outputs


def compile_rows(setting: Setting) -> list[Row]:
    if IMPL not in setting.available:
        return []
    return [
        Row("cold", f"compile {dtype}", "s", IMPL, [compile_seconds(setting.model, dtype)], bar)
        for dtype, bar in COMPILE_BARS.items()
    ]


def compile_seconds(model: str, dtype: str) -> float:
    command = maxwhisper_command(
        *("compile", "--impl", IMPL, "--dtype", dtype, "--model", model, "--offline")
    )
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
    return seconds
