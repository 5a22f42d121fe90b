"""Units of a manifest: deterministic, complete, balanced, and quick for 100,000 lines."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from maxwhisper_cli.cluster.plan import (
    UNIT_SECONDS,
    parse_shard,
    plan_key,
    plan_units,
    units_of_shard,
)
from maxwhisper_cli.inputs.input import Input
from maxwhisper_cli.transcription.options import OptionsError


def inputs(n: int) -> list[Input]:
    return [
        Input(f"{i}.wav", duration_seconds=float(10 + i * 7919 % 3600), fields={"x": i})
        for i in range(n)
    ]


def test_each_recording_is_in_one_unit_the_longest_first() -> None:
    units = plan_units(inputs(1000))
    indexes = [entry.index for unit in units for entry in unit.entries]
    assert sorted(indexes) == list(range(1000))
    lengths = [entry.seconds for unit in units for entry in unit.entries]
    assert lengths == sorted(lengths, reverse=True)
    assert all(unit.seconds <= UNIT_SECONDS for unit in units)
    assert all(unit.seconds > UNIT_SECONDS / 2 for unit in units[:-1])
    assert [unit.number for unit in units] == list(range(len(units)))


def test_a_small_manifest_has_work_for_several_workers() -> None:
    assert len(plan_units(inputs(20))) >= 10


@pytest.mark.parametrize("count", [1, 3, 16])
def test_shards_divide_the_units_evenly(count: int) -> None:
    units = plan_units(inputs(2000))
    shards = [units_of_shard(units, number, count) for number in range(1, count + 1)]
    numbers = [unit.number for unit in itertools.chain(*shards)]
    assert sorted(numbers) == list(range(len(units)))
    loads = [sum(unit.seconds for unit in shard) for shard in shards]
    assert max(loads) - min(loads) <= UNIT_SECONDS


def test_the_key_changes_with_the_manifest() -> None:
    key = plan_key(plan_units(inputs(50)))
    assert key == plan_key(plan_units(inputs(50)))
    assert key != plan_key(plan_units(inputs(51)))


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4", "1/4/2"])
def test_shards_that_make_no_sense(text: str) -> None:
    with pytest.raises(OptionsError, match="--shard is I/N"):
        parse_shard(text)
    assert parse_shard("3/16") == (3, 16)


def test_equal_ids_are_refused() -> None:
    with pytest.raises(OptionsError, match="recordings 1 and 2 of the manifest both have the id"):
        plan_units([Input("a", fields={"id": "x"}), Input("b", fields={"id": "x"})])


def test_100000_lines_are_planned_within_500_mb(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    with path.open("w") as file:
        for i in range(100_000):
            entry = {"audio_filepath": f"/data/{i}.flac", "duration": 5 + i % 3000, "text": "a"}
            file.write(json.dumps(entry) + "\n")
    code = (
        "import sys; from pathlib import Path\n"
        "from maxwhisper_cli.cluster.plan import plan_key, plan_units, units_of_shard\n"
        "from maxwhisper_cli.inputs.manifest import read_manifest\n"
        "units = plan_units(read_manifest(Path(sys.argv[1])))\n"
        "shard, key = units_of_shard(units, 3, 16), plan_key(units)\n"
        # The peak of this program: that of getrusage may be the one from which it was started.
        "status = Path('/proc/self/status').read_text().split()\n"
        "print(len(units), len(shard), status[status.index('VmHWM:') + 1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True
    )
    n_units, n_of_shard, n_kib = map(float, done.stdout.split())
    assert abs(n_of_shard - n_units / 16) <= 1
    assert n_kib < 500_000
