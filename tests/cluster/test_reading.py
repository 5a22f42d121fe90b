"""Reading elsewhere gives the records of reading here, warnings and errors included."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from implementations.request import DecodedWindow, DecodeRequest
from maxwhisper_cli.audio.sixteen_bit import from_16_bit, to_16_bit
from maxwhisper_cli.cluster.plan import plan_units
from maxwhisper_cli.cluster.reading import ReadElsewhere, read_samples
from maxwhisper_cli.cluster.worker import UnitWorker
from maxwhisper_cli.inputs.input import Input
from maxwhisper_cli.inputs.remote import Remote
from maxwhisper_cli.model import Model
from maxwhisper_cli.transcription.options import TranscribeOptions
from tests.support.scripted import BEGIN, window
from tests.support.scripted_rows import RowImplementation

OPTIONS = TranscribeOptions(temperatures=(0.0,), batch_size="auto")


def say(_: DecodeRequest) -> DecodedWindow:
    return window([BEGIN, 1000, BEGIN + 50, BEGIN + 50])


def records(inputs: list[Input], read: ReadElsewhere | None) -> tuple[list[Any], RowImplementation]:
    implementation = RowImplementation(say)
    worker = UnitWorker(
        Model(implementation, "tiny.en"), OPTIONS, {}, Remote(), read_elsewhere=read
    )
    done = [record for each in worker.transcribe(plan_units(inputs)) for record in each.records]
    return sorted(done, key=lambda record: int(record["id"])), implementation


def test_records_do_not_depend_on_where_a_recording_is_read(sonnet: Path, tmp_path: Path) -> None:
    empty, bad, cut = (tmp_path / name for name in ("empty.wav", "bad.wav", "cut.mp3"))
    soundfile.write(empty, np.zeros(0, np.float32), 16000)
    bad.write_bytes(b"no sound")
    cut.write_bytes(sonnet.read_bytes()[:200_000])
    inputs = [
        Input(str(sonnet), start_seconds=3.0, duration_seconds=20.0, fields={"offset": 3.0}),
        Input(str(sonnet), start_seconds=90.0, fields={"offset": 90.0}),
        *(Input(str(path)) for path in (empty, bad, cut, tmp_path / "none.wav")),
    ]
    here, on_this = records(inputs, None)
    there, on_other = records(inputs, read_samples)
    assert there == here
    assert [("error" in record, bool(record.get("warnings"))) for record in here][:4] == [
        (False, False), (False, True), (False, True), (True, False),
    ]  # fmt: skip
    assert len(on_this.windows) == len(on_other.windows) > 1
    here_bytes, there_bytes = (
        sorted(each.tobytes() for each in one.windows) for one in (on_this, on_other)
    )
    assert here_bytes == there_bytes


def test_samples_of_16_bits_are_rounded_once() -> None:
    samples = np.array([-2, -1, -0.50001, 0, 1 / 65537, 0.25, 0.99999, 1, 3], np.float32)
    rounded = to_16_bit(samples)
    assert rounded.tolist() == [-32768, -32768, -16384, 0, 0, 8192, 32767, 32767, 32767]
    assert np.array_equal(to_16_bit(from_16_bit(rounded)), rounded)


def test_channels_that_are_split_are_read_here(tmp_path: Path) -> None:
    def refuse(*_: object) -> Any:
        pytest.fail("it was read elsewhere")

    path = tmp_path / "two.wav"
    noise = np.random.default_rng(0).normal(0, 0.1, (16000, 2))
    soundfile.write(path, noise, 16000)
    worker = UnitWorker(
        Model(RowImplementation(say), "tiny.en"), OPTIONS, {"channel": "split"}, Remote(),
        read_elsewhere=refuse,
    )  # fmt: skip
    (unit,) = worker.transcribe(plan_units([Input(str(path))]))
    assert "error" not in unit.records[0]
