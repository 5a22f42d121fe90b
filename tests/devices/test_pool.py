"""Processes of devices with scripted models: who does what, and what comes of failures."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from implementations.errors import ImplementationFailedError, ImplementationUnavailableError
from maxwhisper_cli.devices.pool import DevicePool
from maxwhisper_cli.throughput.several import Finished
from maxwhisper_cli.transcription.options import TranscribeOptions
from tests.devices.scripted_device import ScriptedLoad

OPTIONS = TranscribeOptions(temperatures=(0.0,), batch_size="auto")
SILENCE = np.zeros(40 * 16000, np.float32)


def noise(number: int) -> np.ndarray:
    """A recording of 40 s, thus of two windows."""
    samples = np.random.default_rng(number).normal(0, 0.1, 40 * 16000)
    return samples.astype(np.float32)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.touch()
    return path


def pool(*loads: ScriptedLoad) -> tuple[DevicePool, list[str]]:
    notes: list[str] = []
    return DevicePool([(load.device, load) for load in loads], notes.append), notes


def texts(finished: Sequence[Finished]) -> dict[int, str | None]:
    return {each.index: each.transcript.text if each.transcript else None for each in finished}


def alone(audios: Sequence[Any], log: Path) -> dict[int, str | None]:
    """The texts of one device, in this process."""
    model = ScriptedLoad("one", log, seconds=0)(lambda _: None)
    return texts(list(model.transcribe_several(audios, OPTIONS)))


def windows_of(log: Path) -> Counter[str]:
    return Counter(log.read_text().split())


def is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def test_devices_share_the_files_and_say_what_one_says(log: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no sound")
    audios: list[Any] = [*map(noise, range(9)), str(bad)]
    expected = alone(audios, log)
    segments: Counter[int] = Counter()
    two, notes = pool(ScriptedLoad("a", log), ScriptedLoad("b", log))
    with two:
        processes = [worker.process.pid for worker in two.workers]
        finished = list(
            two.transcribe_several(
                audios, OPTIONS, on_segment=lambda index, _: segments.update([index])
            )
        )
        again = two.transcribe(noise(3), OPTIONS)
    assert sorted(each.index for each in finished) == list(range(10))
    assert texts(finished) == expected
    assert again.text == expected[3]
    (error,) = [str(each.error) for each in finished if each.error is not None]
    assert "bad.wav is not audio" in error
    assert segments == dict.fromkeys(range(9), 2)
    assert {each.origin.device for each in finished if each.origin} == {"a", "b"}
    of_device = windows_of(log)
    assert of_device["one"] == 18
    assert of_device["a"] + of_device["b"] == 20
    assert min(of_device["a"], of_device["b"]) >= 6  # no more than half of what is left at a time
    assert notes == ["all devices note this"]
    assert not any(map(is_running, processes))


def test_a_killed_device_gives_its_files_back_and_is_named(log: Path) -> None:
    audios = list(map(noise, range(8)))
    expected = alone(audios, log)
    segments: Counter[int] = Counter()
    two, notes = pool(ScriptedLoad("a", log), ScriptedLoad("b", log, dies_at=3))
    with two:
        running = two.transcribe_several(
            audios, OPTIONS, on_segment=lambda index, _: segments.update([index])
        )
        assert texts(list(running)) == expected
        assert [worker.device for worker in two.workers] == ["a"]
    assert segments == dict.fromkeys(range(8), 2)  # shown once, though decoded again
    (failure,) = [note for note in notes if "failed" in note]
    assert failure.startswith("b failed: its process was ended by SIGKILL; ")
    assert failure.endswith(" to the others")


def test_a_file_that_ends_two_devices_fails_alone(log: Path) -> None:
    three, notes = pool(*(ScriptedLoad(name, log) for name in "abc"))
    with three:
        finished = list(three.transcribe_several([*map(noise, range(6)), SILENCE], OPTIONS))
        assert len(three.workers) == 1
    errors = {each.index: each.error for each in finished if each.error is not None}
    assert 6 in errors
    assert "ended by SIGKILL" in str(errors[6])
    assert sorted(each.index for each in finished) == list(range(7))
    # Others that were beside it both times fail too; most were not.
    assert len(errors) <= 3
    assert sum("failed: its process was ended by SIGKILL" in note for note in notes) == 2


def test_with_no_device_left_the_run_ends(log: Path) -> None:
    two, _ = pool(ScriptedLoad("a", log), ScriptedLoad("b", log))
    running = two.transcribe_several([SILENCE] * 4, OPTIONS)
    with two, pytest.raises(ImplementationFailedError, match=r"no device is left: . failed.*SIGKI"):
        list(running)


def test_what_fails_on_a_broken_device_is_done_by_another(log: Path) -> None:
    audios = list(map(noise, range(12)))
    broken = ScriptedLoad("b", log, fails=True), ScriptedLoad("c", log, refuses=True)
    two, notes = pool(ScriptedLoad("a", log, seconds=0.1), *broken)
    with two:
        finished = list(two.transcribe_several(audios, OPTIONS))
        assert [worker.device for worker in two.workers] == ["a"]
    assert all(each.transcript is not None for each in finished)
    assert sorted(each.index for each in finished) == list(range(12))
    assert {each.origin.device for each in finished if each.origin} == {"a"}
    assert any(note.startswith("b failed: 3 files failed on it in turn") for note in notes)
    assert "c failed: c is out of order; going on without it" in notes


def test_devices_that_cannot_load_are_an_error(log: Path) -> None:
    with pytest.raises(ImplementationUnavailableError, match="a failed: a is out of order; b fail"):
        pool(*(ScriptedLoad(name, log, refuses=True) for name in "ab"))


def test_stopping_finishes_what_is_under_way(log: Path) -> None:
    done: list[int] = []
    two, _ = pool(*(ScriptedLoad(name, log, seconds=0.05) for name in "ab"))
    with two:
        for each in two.transcribe_several(
            list(map(noise, range(40))), OPTIONS, keep_going=lambda: len(done) < 4
        ):
            assert each.transcript is not None
            done.append(each.index)
        assert 4 <= len(done) < 30
        assert [len(worker.given) for worker in two.workers] == [0, 0]
        options = replace(OPTIONS, batch_size=1)
        assert len(list(two.transcribe_several([noise(0), noise(1)], options))) == 2
