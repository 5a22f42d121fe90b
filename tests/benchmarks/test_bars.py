"""Verdicts of `make bench-bars` on made-up numbers; nothing is timed here."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.benchmarks import (
    command_bars,
    fast_bars,
    reading_bars,
    step_bars,
    transcribe_bars,
    word_bars,
)
from tests.benchmarks.bars import Row, Setting, table
from tests.benchmarks.bench import TABLE_WIDTH
from tests.benchmarks.processes import script_command, wall_seconds
from tests.benchmarks.transcribe_bars import Measurement
from tests.benchmarks.whisper_command import load_audio

ALL = frozenset({"cpu", "hybrid", "full-max"})


def setting(available: frozenset[str] = ALL, folder: str = "") -> Setting:
    return Setting(folder, "tiny.en", 2, 1, available, Console(quiet=True))


def test_a_ratio_is_of_medians_and_its_spread_of_single_rounds() -> None:
    row = Row("greedy", "time", "s", "cpu", [1.0, 2.0, 9.0], 1.0, "whisper", [4.0, 2.0, 3.0])
    assert row.measured == pytest.approx(2 / 3)
    assert row.spread == (0.25, 3.0)
    assert row.passed
    assert row.as_json()["measured"] == row.measured


def test_without_a_baseline_the_bar_is_on_the_number_itself() -> None:
    row = Row("start", "whole command", "s", "full-max", [1.7, 1.5, 1.8], 1.6)
    assert row.measured == 1.7
    assert row.spread == (1.5, 1.8)
    assert not row.passed
    assert Row("greedy", "time", "s", "hybrid", [2.0], None, "cpu", [1.0]).passed


def test_table_has_verdicts_only_for_bars() -> None:
    rows = [Row("start", "time", "s", "full-max", [1.0], bar) for bar in (0.5, 1.0, None)]
    console = Console(width=TABLE_WIDTH)
    with console.capture() as captured:
        console.print(table(rows))
    lines = captured.get().splitlines()[1:]
    assert [line.split()[-1] for line in lines] == ["miss", "pass", "bar"]


def test_the_widest_line_is_not_cut() -> None:
    row = Row("greedy", "encoder window", "MiB", "full-max", [99.99], 1.05, "whisper", [100.1])
    console = Console(width=TABLE_WIDTH)
    with console.capture() as captured:
        console.print(table([row]))
    assert "…" not in captured.get()
    assert "full-max / whisper, greedy" in captured.get()


def test_the_time_of_a_step_is_taken_around_its_position() -> None:
    seconds = [[n / 1000 for n in range(1, 448)]] * 2
    around = step_bars.milliseconds_at(seconds)
    assert around == pytest.approx({10: 9.5, 200: 199.5, 440: 439.5})


def test_each_implementation_is_compared_with_its_baseline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = {"whisper": 10.0, "cpu": 10.0, "hybrid": 9.0, "full-max": 9.0}
    monkeypatch.setattr(
        transcribe_bars,
        "measure",
        lambda name, setting, beam_size: Measurement(0.1, seconds[name], 100.0, "red"),
    )
    rows = transcribe_bars.transcribe_rows(setting())
    missed = [(row.section, row.contender, row.quantity) for row in rows if not row.passed]
    assert missed == [("greedy", "full-max", "time"), ("beam 5", "full-max", "time")]
    assert len(rows) == 12
    assert all(len(row.runs) == 2 for row in rows)
    without = transcribe_bars.transcribe_rows(setting(frozenset({"cpu"})))
    assert {row.contender for row in without} == {"cpu"}


def test_times_of_different_texts_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        transcribe_bars,
        "measure",
        lambda name, setting, beam_size: Measurement(0.1, 1.0, 100.0, name),
    )
    with pytest.raises(SystemExit, match="cpu and whisper differ"):
        transcribe_bars.transcribe_rows(setting())


def test_the_first_start_of_each_command_does_not_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started = []

    def wall(command: list[str]) -> float:
        started.append(command)
        folder = Path(command[command.index("-o") + 1])
        folder.mkdir(exist_ok=True)
        folder.joinpath("jfk.txt").write_text("red\n")
        is_first = len(started) <= 3
        return 100.0 if is_first else 1.0 if "full-max" in command else 4.0

    monkeypatch.setattr(command_bars, "wall_seconds", wall)
    rows = command_bars.start_rows(setting(folder=str(tmp_path)))
    assert [row.measured for row in rows] == [1.0, 1.0, 0.25]
    assert len(started) == 9


def test_a_compile_that_leaves_nothing_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_bars, "wall_seconds", lambda command, changes: 1.0)
    with pytest.raises(SystemExit, match="no compiled file"):
        command_bars.compile_rows(setting())


def test_a_program_that_fails_has_no_time() -> None:
    with pytest.raises(SystemExit, match="exit 3\nwhat was wrong"):
        wall_seconds(
            [sys.executable, "-c", "import sys; sys.stderr.write('what was wrong'); sys.exit(3)"]
        )


def test_a_file_is_read_as_openai_whisper_would(tmp_path: Path) -> None:
    import soundfile

    stereo = np.array([[0.5, 0.25], [-0.5, 0.0]], np.float32)
    soundfile.write(tmp_path / "clip.wav", stereo, 16000, "FLOAT")
    np.testing.assert_array_equal(load_audio(str(tmp_path / "clip.wav")), [0.375, -0.25])
    soundfile.write(tmp_path / "slow.wav", stereo, 8000, "FLOAT")
    with pytest.raises(ValueError, match="8000 Hz"):
        load_audio(str(tmp_path / "slow.wav"))


def test_the_benchmark_names_its_sections() -> None:
    done = subprocess.run(
        script_command("bench.py", "--help"), capture_output=True, text=True, check=True
    )
    for word in (
        "start",
        "steps",
        "transcribe",
        "fast",
        "compile",
        "--runs",
        "--threads",
        "--json",
    ):
        assert word in done.stdout


def test_avx2_is_forced_by_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def python(*arguments: str, changes: dict[str, str] | None) -> str:
        started.append((arguments[1], changes is not None))
        is_ours = arguments[1].startswith("full-max")
        return json.dumps(
            {"encoder_seconds": {"1": 0.1}, "step_seconds": [[0.001 if is_ours else 0.002] * 447]}
        )

    monkeypatch.setattr(step_bars, "python", python)
    rows = step_bars.step_rows(setting(frozenset({"cpu", "full-max"})))
    assert set(started) == {
        *(("cpu", forced) for forced in (False, True)),
        *(("full-max:auto", forced) for forced in (False, True)),
        *((name, False) for name in ("full-max", "cpu:autocast")),
    }
    at_440 = [row.measured for row in rows if row.quantity == "step at 440"]
    assert at_440 == pytest.approx([0.5] * 3)
    assert not [row for row in rows if row.contender == "hybrid"]


def test_fast_implementation_is_compared_with_each_program() -> None:
    def run(seconds: float, wer: float, mib: float) -> fast_bars.Measured:
        return fast_bars.Measured(
            dict.fromkeys(fast_bars.CLIPS, seconds), {"long": wer, "jfk": 0.0}, mib
        )

    rows = fast_bars.compare(
        {
            fast_bars.WHISPER: [run(10.0, 13.2, 1000.0)],
            fast_bars.FASTER_WHISPER: [run(7.0, 12.3, 500.0)],
            fast_bars.OURS: [run(3.4, 13.3, 400.0)],
        }
    )
    missed = [(row.section, row.quantity, row.baseline) for row in rows if not row.passed]
    assert missed == [("160 s", "time", fast_bars.WHISPER)]
    wrong = {(row.section, row.contender): row.measured for row in rows if row.unit == "%"}
    assert wrong["160 s", fast_bars.OURS] == 13.3
    assert rows[-1].measured == 0.4


def test_words_are_compared_with_the_same_run_without(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = json.dumps({"words": [1.1, 1.3, 1.2], "plain": [1.0, 1.0, 1.1]})
    monkeypatch.setattr(word_bars, "python", lambda *_arguments: printed)
    rows = word_bars.word_rows(setting(frozenset({"cpu", "full-max"})))
    assert [row.contender for row in rows] == ["cpu", "full-max", "full-max:auto"]
    assert rows[0].measured == pytest.approx(1.2)
    assert not rows[0].passed


def test_reading_is_compared_by_recording() -> None:
    mp3, opus = "44.1 kHz stereo.mp3", "48 kHz stereo.opus"
    runs = {
        reading_bars.OURS: 2 * [{mp3: [0.3, 9.0], opus: [0.5, 9.0]}],
        reading_bars.THEIRS: 2 * [{mp3: [0.4, 1.0], opus: [0.4, 1.0]}],
    }
    ratio, speed, other_decoder = reading_bars.compare(runs, 160.0)
    assert ratio.measured == pytest.approx(0.75)
    assert ratio.passed
    assert not speed.passed  # 533 seconds of sound in one
    assert other_decoder.bar is None
    assert reading_bars.compare(runs, 211.0)[1].passed


def test_reading_by_all_threads_is_compared_with_one() -> None:
    runs = {
        reading_bars.ONE_THREAD: [{"a.mp3": [0.3, 0.3]}],
        reading_bars.ALL_THREADS: [{"a.mp3": [0.36, 0.1]}],
    }
    cpu, wall = reading_bars.compare_threads(runs)
    assert cpu.measured == pytest.approx(1.2)
    assert not cpu.passed
    assert wall.measured == pytest.approx(1 / 3)
    assert wall.bar is None
