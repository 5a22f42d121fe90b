"""Outputs of units: Parquet, addresses of fsspec, and a disk that is full."""

import json
from pathlib import Path
from typing import Any

import pytest

from maxwhisper_cli.cluster.destination import PARQUET, Destination
from maxwhisper_cli.cluster.parquet import to_parquet
from maxwhisper_cli.cluster.plan import Unit, plan_units
from maxwhisper_cli.inputs.input import Input
from maxwhisper_cli.transcription.options import OptionsError
from tests.support.small_disk import run_on_disk

SEGMENT = {"id": 0, "start": 0.0, "end": 1.5, "text": " a", "temperature": 0.0}
RECORDS: list[dict[str, Any]] = [
    {"id": 0, "mine": 7, "mixed": [1], "text": " a", "segments": [SEGMENT], "seconds": 1.5},
    {"id": 1, "mine": 8, "mixed": "b", "empty": None, "error": "it is damaged"},
]


def unit() -> Unit:
    (planned,) = plan_units([Input(f"{i}.wav", duration_seconds=9.0) for i in range(2)])
    return planned


def test_parquet_has_the_records_and_the_same_columns_in_every_file(tmp_path: Path) -> None:
    dataset = pytest.importorskip("pyarrow.dataset", reason="pyarrow is not installed")
    (tmp_path / "0.parquet").write_bytes(to_parquet(RECORDS))
    (tmp_path / "1.parquet").write_bytes(to_parquet(RECORDS[1:]))
    assert to_parquet(RECORDS) == to_parquet(RECORDS)
    rows = dataset.dataset(tmp_path, format="parquet").to_table().to_pylist()
    assert [row["id"] for row in rows] == [0, 1, 1]
    assert rows[0]["segments"][0]["end"] == 1.5
    assert rows[0]["mine"] == 7
    assert (rows[0]["mixed"], rows[1]["mixed"]) == ("[1]", "b")
    assert (rows[0]["error"], rows[1]["error"]) == (None, "it is damaged")
    assert rows[1]["text"] is None


@pytest.mark.parametrize("format_", ["jsonl", PARQUET])
def test_an_address_of_fsspec_holds_units_and_is_resumed(format_: str) -> None:
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
    if format_ == PARQUET:
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    place = f"memory://run-{format_}/out"
    destination = Destination(place, format_)
    destination.begin("plan", "options")
    assert not destination.is_done(unit())
    destination.write(unit(), RECORDS)
    assert destination.is_done(unit())
    Destination(place, format_).begin("plan", "options")
    with pytest.raises(OptionsError, match="another output format"):
        Destination(place, PARQUET if format_ == "jsonl" else "jsonl").begin("plan", "options")
    system = fsspec.filesystem("memory")
    names = {path.rpartition("/")[2] for path in system.ls(f"/run-{format_}/out", detail=False)}
    assert names == {"run.json", f"unit-000000.{format_}", "unit-000000.done.json"}
    system.pipe_file(f"/run-{format_}/out/unit-000000.{format_}", b"cut off")
    assert not destination.is_done(unit())


def test_a_full_disk_keeps_what_is_done_and_the_same_command_goes_on(tmp_path: Path) -> None:
    program = tmp_path / "write.py"
    program.write_text(
        """
import sys
from pathlib import Path
from maxwhisper_cli.cluster.destination import Destination
from maxwhisper_cli.cluster.plan import Entry, Unit
from maxwhisper_cli.inputs.input import Input
from weights.errors import MaxWhisperError
units = [Unit(i, (Entry(i, Input(f"{i}.wav")),)) for i in range(4)]
destination = Destination(sys.argv[1])
destination.begin("plan", "options")
for unit in units:
    if not destination.is_done(unit):
        try:
            destination.write(unit, [{"id": unit.number, "text": "x" * 30_000}])
        except MaxWhisperError as error:
            print(error)
            break
print([unit.number for unit in units if destination.is_done(unit)])
""".lstrip()
    )
    disk = tmp_path / "disk"
    disk.mkdir()
    write = '"$python" "$1" "$2/out"'
    script = f'{write}; ls -A "$2/out"; mount -o remount,size=1m "$2" && {write}'
    done = run_on_disk(disk, "size=100k", script, str(program), str(disk))
    first, before, *listing, after = done.stdout.splitlines()
    assert "No space left on device; what is done stays, and the same command goes on" in first
    n_done = len(json.loads(before))
    assert 0 < n_done < 4
    assert not any(name.endswith(".part") for name in listing)
    assert sum(name.endswith(".done.json") for name in listing) == n_done
    assert after == "[0, 1, 2, 3]"
