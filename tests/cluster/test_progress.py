"""Progress of a run over units: numbers, the table that is drawn, and lines of JSON."""

import io
import json
import time
from pathlib import Path

import pytest
from rich.console import Console

from maxwhisper_cli.cluster.plan import plan_units
from maxwhisper_cli.cluster.progress import Tally
from maxwhisper_cli.cluster.worker import FinishedUnit
from maxwhisper_cli.commands.units_display import UnitsDisplay
from maxwhisper_cli.console import Terminal
from maxwhisper_cli.inputs.input import Input
from tests.cli.conftest import FakeModels, MakeSound, RunCommandLine, maxwhisper, models, sound
from tests.cluster.test_shards import small_manifest

__all__ = ["maxwhisper", "models", "sound"]


@pytest.fixture
def tally() -> Tally:
    """Three of four units of an hour each, by two workers, in 1,000 s; one recording failed."""
    units = plan_units([Input(f"{i}.wav", duration_seconds=3600.0) for i in range(4)])
    begin = time.perf_counter() - 1000
    counted = Tally(4, 4 * 3600.0, price_per_hour=3.6, n_workers=2, begin=begin)
    for number, (unit, waited) in enumerate(zip(units[:3], (1.0, 4.0, 3.0), strict=True)):
        record = {"seconds": 3600.0} if number else {"error": "no"}
        place = f"full-max on cuda:0 of node-{number % 2}"
        counted.add(FinishedUnit(unit, [record], 5.0, waited), number % 2, place)
    return counted


def test_what_waits_for_what(tally: Tally) -> None:
    assert tally.line() == (
        "3 of 4 units, 2.00 h of audio, 7x real time, 4x for each of 2 workers, "
        "53% waits for reading, 1 failed, about 8:20 left, 2.00 spent"
    )
    record = tally.record()
    assert record["waits_for_reading"] == 0.533
    assert record["seconds_left"] == pytest.approx(500, abs=2)
    assert record["cost"] == pytest.approx(2.0, abs=0.02)
    shares = [each.record()["waits_for_reading"] for each in tally.workers.values()]
    assert shares == [0.4, 0.8]
    assert [each.speed for each in tally.workers.values()] == [360.0, 720.0]


def test_the_table_has_a_row_for_each_worker(tally: Tally) -> None:
    drawn = io.StringIO()
    console = Console(file=drawn, width=90)
    console.print(UnitsDisplay(Terminal(), tally, is_jsonl=False))
    text = " ".join(drawn.getvalue().split())
    assert "full-max on cuda:0 of node-0 2 1:00:00 360x 40%" in text
    assert "full-max on cuda:0 of node-1 1 1:00:00 720x 80%" in text
    assert "3 of 4 units" in text


def test_lines_of_json(maxwhisper: RunCommandLine, sound: MakeSound, models: FakeModels) -> None:
    manifest = small_manifest(sound, 3)
    done = maxwhisper(
        "transcribe", "--manifest", manifest, "-o", "out", "--model", "tiny.en",
        "--shard", "1/1", "--jsonl", "--price-per-hour", "2", "--summary", "all.jsonl",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["units_done"] for line in lines] == [1, 2, 3]
    assert {line["unit"] for line in lines} == {0, 1, 2}
    assert all(line["worker"].startswith("scripted on cpu of ") for line in lines)
    *before, total = map(json.loads, Path("all.jsonl").read_text().splitlines())
    assert before == lines
    (worker,) = total["by_worker"]
    assert (worker["units_done"], worker["waits_for_reading"] is not None) == (3, True)
    assert len(models.calls) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-f", "srt"), "--shard and --cluster write -f jsonl or parquet"),
        (("--device", "cpu,tpu"), "there is no device called 'tpu'"),
    ],
)
def test_refusals(
    maxwhisper: RunCommandLine, sound: MakeSound, arguments: tuple[str, ...], message: str
) -> None:
    manifest = small_manifest(sound, 2)
    done = maxwhisper(
        "transcribe", "--manifest", manifest, "-o", "out", "--model", "tiny.en", "--shard", "1/1",
        *arguments,
    )  # fmt: skip
    assert done.exit_code != 0
    assert message in done.stderr
