"""Shards: outputs, failures and resuming on a scripted model, and four processes on real speech."""

import json
import signal
import time
from pathlib import Path

import pytest

from tests.cli.conftest import (
    SPOKEN,
    FakeModels,
    MakeSound,
    RunCommandLine,
    maxwhisper,
    models,
    says,
    sound,
    stopped_after,
)
from tests.cluster import conftest as cluster

__all__ = ["maxwhisper", "models", "sound"]


def small_manifest(sound: MakeSound, n: int = 6) -> Path:
    paths = [sound(f"{i}.wav", 1 + i) for i in range(n)]
    manifest = paths[0].with_name("in.jsonl")
    entries = [
        {"audio_filepath": str(p), "duration": 295 + i, "text": "said", "mine": [i]}
        for i, p in enumerate(paths)
    ]
    manifest.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return manifest


def test_shards_write_every_recording_once(
    maxwhisper: RunCommandLine, sound: MakeSound, models: FakeModels
) -> None:
    manifest = small_manifest(sound)
    for number in (2, 1, 3):
        done = maxwhisper(
            "transcribe", "--manifest", manifest, "-o", "out", "--model", "tiny.en",
            "--shard", f"{number}/3", "--price-per-hour", "2", "--summary", f"{number}.jsonl",
        )  # fmt: skip
        assert done.exit_code == 0, done.stderr
    records = [json.loads(line) for line in cluster.lines(Path("out"))]
    assert [record["id"] for record in records] == list(range(6))
    assert [record["mine"] for record in records] == [[i] for i in range(6)]
    assert [record["seconds"] for record in records] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert {record["manifest_text"] for record in records} == {"said"}
    assert records[0]["text"] == " Grüße, 世界."
    assert list(records[0])[-4:] == ["model", "implementation", "dtype", "version"]
    total = json.loads(Path("1.jsonl").read_text().splitlines()[-1])
    assert (total["total"], total["units_done"], total["failed"]) == (True, 2, 0)
    assert total["cost"] >= 0
    again = maxwhisper(
        "transcribe", "--manifest", manifest, "-o", "out", "--model", "tiny.en", "--shard", "1/1"
    )
    assert (again.exit_code, "0 of 6 units are to be done" in again.stderr) == (0, True)
    assert len(models.calls) == 3


@pytest.mark.parametrize("damage", ["no record", "cut off", "no output"])
def test_a_unit_that_is_not_whole_is_done_again(
    maxwhisper: RunCommandLine, sound: MakeSound, models: FakeModels, damage: str
) -> None:
    manifest = small_manifest(sound, 3)
    arguments = ("--manifest", manifest, "-o", "out", "--model", "tiny.en", "--shard", "1/1")
    assert maxwhisper("transcribe", *arguments).exit_code == 0
    before = cluster.lines(Path("out"))
    if damage == "no record":
        Path("out/unit-000001.done.json").unlink()
    elif damage == "cut off":
        path = Path("out/unit-000001.jsonl")
        path.write_bytes(path.read_bytes()[:-9])
    else:
        Path("out/unit-000001.jsonl").unlink()
    done = maxwhisper("transcribe", *arguments)
    assert (done.exit_code, "1 of 3 units are to be done" in done.stderr) == (0, True)
    assert cluster.lines(Path("out")) == before


def test_a_failed_recording_is_a_record_and_never_the_end(
    maxwhisper: RunCommandLine, sound: MakeSound
) -> None:
    manifest = small_manifest(sound, 4)
    manifest.with_name("1.wav").write_text("no sound")
    manifest.with_name("2.wav").unlink()
    done = maxwhisper(
        "transcribe", "--manifest", manifest, "-o", "out", "--model", "tiny.en", "--shard", "1/1"
    )
    assert done.exit_code == 1
    assert done.stderr.endswith(
        "2 of 4 recordings failed twice; their records in out have the errors\n"
    )
    records = [json.loads(line) for line in cluster.lines(Path("out"))]
    assert ["error" in record for record in records] == [False, True, True, False]
    assert "does not exist" in records[2]["error"]
    assert records[2]["mine"] == [2]
    assert json.loads(Path("out/unit-000001.done.json").read_text())["n_failed"] == 1


def test_ctrl_c_leaves_whole_units_and_says_what_is_left(
    maxwhisper: RunCommandLine, sound: MakeSound, models: FakeModels
) -> None:
    manifest = small_manifest(sound, 4)
    arguments = ("--manifest", manifest, "-o", "out", "--model", "tiny.en", "--shard", "1/1")
    models.script = stopped_after(2, says(SPOKEN, models.dims))
    done = maxwhisper("transcribe", *arguments)
    left = "error: 2 of 4 units are left: the same command goes on\nerror: stopped\n"
    assert (done.exit_code, done.stderr[-len(left) :]) == (130, left)
    assert len(cluster.lines(Path("out"))) == 2
    models.script = None
    assert maxwhisper("transcribe", *arguments).exit_code == 0
    assert len(cluster.lines(Path("out"))) == 4


def test_another_run_in_the_folder_is_refused(maxwhisper: RunCommandLine, sound: MakeSound) -> None:
    manifest = small_manifest(sound, 3)
    arguments = ("--manifest", manifest, "-o", "out", "--model", "tiny.en", "--shard", "1/1")
    assert maxwhisper("transcribe", *arguments).exit_code == 0
    other = maxwhisper("transcribe", *arguments, "--beam-size", "2")
    assert (other.exit_code, "another model, options or version" in other.stderr) == (2, True)
    manifest.write_text(manifest.read_text() + '{"audio_filepath": "b.wav"}\n')
    other = maxwhisper("transcribe", *arguments)
    assert (other.exit_code, "another manifest" in other.stderr) == (2, True)


def test_outputs_at_an_address(maxwhisper: RunCommandLine, sound: MakeSound) -> None:
    fsspec = pytest.importorskip("fsspec", reason="fsspec is installed by those who need it")
    manifest = small_manifest(sound, 2)
    arguments = ("--manifest", manifest, "-o", "memory://runs/1", "--model", "tiny.en")
    assert maxwhisper("transcribe", *arguments, "--shard", "1/1").exit_code == 0
    done = maxwhisper("transcribe", *arguments, "--shard", "1/1")
    assert "0 of 2 units are to be done" in done.stderr
    system = fsspec.filesystem("memory")
    data = b"".join(system.cat_file(path) for path in system.glob("runs/1/unit-*.jsonl"))
    assert {json.loads(line)["mine"][0] for line in data.splitlines()} == {0, 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--shard", "1/1", "-o", "out"), "name recordings"),
        (("--shard", "9/8", "-o", "out", "--manifest", "M"), "--shard is I/N"),
        (("--shard", "1/1", "--manifest", "M"), "need --manifest, and a folder"),
        (("--shard", "1/1", "--cluster", "auto", "-o", "out", "--manifest", "M"), "give one"),
    ],
)
def test_options_that_do_not_go_together(
    maxwhisper: RunCommandLine, sound: MakeSound, arguments: tuple[str, ...], message: str
) -> None:
    manifest = str(small_manifest(sound, 2))
    given = [manifest if each == "M" else each for each in arguments]
    done = maxwhisper("transcribe", "--model", "tiny.en", *given)
    assert (done.exit_code, message in done.stderr) == (2, True), done.stderr


@pytest.mark.full
def test_four_processes_one_killed_give_the_bytes_of_one(manifest: Path, tmp_path: Path) -> None:
    """Seven models are loaded, each for 2 s of processor time, so that this is not in the suite."""
    cluster.finish([cluster.start(manifest, tmp_path / "one", "--shard", "1/1")])
    expected = cluster.lines(tmp_path / "one")
    assert len(expected) == 8
    assert all(b"country" in line for line in expected[:4])
    folder = tmp_path / "four"
    running = [cluster.start(manifest, folder, "--shard", f"{i}/4") for i in (1, 2, 3, 4)]
    deadline = time.monotonic() + 200
    while not list(folder.glob("unit-*.done.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    running[0].send_signal(signal.SIGKILL)
    cluster.finish(running[1:])
    running[0].communicate()
    cluster.finish([cluster.start(manifest, folder, "--shard", "1/4")])
    assert cluster.lines(folder) == expected
    assert not list(folder.glob("*.part"))
