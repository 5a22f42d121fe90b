"""A Ray cluster of two nodes on this machine: one dies while it works, another joins late."""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from implementations.request import DecodedWindow, DecodeRequest
from maxwhisper_cli.cluster.actors import ActorPool, connect
from maxwhisper_cli.cluster.plan import Entry, Unit, plan_units
from maxwhisper_cli.cluster.reading import ReadElsewhere
from maxwhisper_cli.cluster.shared_files import SharedFile
from maxwhisper_cli.cluster.unit_feed import UnitFeed
from maxwhisper_cli.cluster.worker import FinishedUnit, UnitWorker
from maxwhisper_cli.inputs.input import Input
from maxwhisper_cli.inputs.remote import Remote
from maxwhisper_cli.model import Model
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.stopwatch import RunningStopwatch
from tests.cluster import conftest as cluster
from tests.support.scripted import BEGIN, window
from tests.support.scripted_rows import RowImplementation

pytestmark = [
    pytest.mark.full,  # a cluster takes 10 s to start and to end
    pytest.mark.filterwarnings("ignore"),  # Ray's own
]


WAITING = 12
"""Unit from which on a worker waits for the node that joins late."""


def processes(log: Path) -> set[str]:
    """The processes that have begun a unit."""
    return {line.split()[1] for line in log.read_text().splitlines()}


@dataclass
class FakeWorker:
    """Worker that does one unit after the other."""

    log: Path
    place: str = "fake"
    n_rows: int = 1

    def request(self, entry: Entry) -> Entry:
        return entry

    def transcribe_feed(self, feed: UnitFeed[Entry]) -> Iterator[FinishedUnit]:
        while (entry := feed.take()) is not None:
            unit, _ = feed.owners[-1]
            if entry is unit.entries[-1]:
                yield self.transcribe(unit)
                for _ in unit.entries:
                    feed.count_done()

    def transcribe(self, unit: Unit) -> FinishedUnit:
        raise NotImplementedError


@dataclass
class SlowWorker(FakeWorker):
    """Worker that takes a while, and writes down which process did what."""

    def transcribe(self, unit: Unit) -> FinishedUnit:
        with self.log.open("a") as file:
            file.write(f"{unit.number} {os.getpid()}\n")
        time.sleep(0.5)
        deadline = time.monotonic() + 60
        while unit.number >= WAITING and len(processes(self.log)) < 3:
            time.sleep(0.1)  # the one that is left until another joins
            if time.monotonic() > deadline:
                break
        return FinishedUnit(unit, [{"id": entry.id} for entry in unit.entries], 0.5)


@dataclass
class FlakyWorker(FakeWorker):
    """Worker that fails with each second recording, unless another process has done so before."""

    def transcribe(self, unit: Unit) -> FinishedUnit:
        records: list[dict[str, Any]] = []
        for entry in unit.entries:
            before = self.log.read_text().splitlines()
            others = {line.split()[1] for line in before if line.split()[0] == str(entry.id)}
            fails = entry.index % 2 == 1 and (not others or entry.index == 1)
            records.append({"id": entry.id, **({"error": "no"} if fails else {"text": ""})})
            with self.log.open("a") as file:
                file.write(f"{entry.id} {os.getpid()}\n")
        time.sleep(0.2)
        return FinishedUnit(unit, records, 0.5)


@pytest.fixture
def nodes() -> Iterator[Any]:
    """A cluster with a head of one processor."""
    pytest.importorskip("ray", reason="the extra cluster is not installed")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 * 2**20}
    made: Any = Cluster(initialize_head=True, head_node_args=head)
    yield made
    with contextlib.suppress(Exception):
        ray.shutdown()
    made.shutdown()


def test_a_node_dies_and_another_joins(nodes: Any, tmp_path: Path) -> None:
    dying = nodes.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    ray = connect(nodes.address)
    units = plan_units([Input(f"{i}.wav", duration_seconds=299.0) for i in range(24)])
    assert len(units) == 24
    log = tmp_path / "log"
    pool = ActorPool(ray, lambda _: SlowWorker(log), units)
    finished: list[int] = []
    has_changed = False
    for _, _, each in pool:
        finished.append(each.unit.number)
        if not has_changed and len(processes(log)) == 2:
            nodes.remove_node(dying)
            nodes.add_node(num_cpus=1, object_store_memory=80 * 2**20)
            has_changed = True
    assert has_changed
    assert sorted(finished) == list(range(24))
    assert len(processes(log)) == 3


def test_what_fails_is_tried_again_by_another_actor(nodes: Any, tmp_path: Path) -> None:
    nodes.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    ray = connect(nodes.address)
    units = plan_units([Input(f"{i}.wav", duration_seconds=149.0) for i in range(24)])
    log = tmp_path / "log"
    log.touch()
    done = [each for _, _, each in ActorPool(ray, lambda _: FlakyWorker(log), units)]
    assert sorted(each.unit.number for each in done) == list(range(len(units)))
    records = [record for each in done for record in each.records]
    assert sorted(record["id"] for record in records) == list(range(24))
    assert [record["id"] for record in records if "error" in record] == [1]
    tries = [line.split() for line in log.read_text().splitlines()]
    for index in range(24):
        processes_of = [process for entry, process in tries if entry == str(index)]
        assert len(processes_of) == len(set(processes_of)) == 1 + index % 2


def test_the_cluster_writes_the_bytes_of_a_shard(
    nodes: Any, manifest: Path, tmp_path: Path
) -> None:
    """The run begins as a shard and ends on the cluster."""
    nodes.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    cluster.finish([cluster.start(manifest, tmp_path / "one", "--shard", "1/1")])
    folder = tmp_path / "two"
    cluster.finish([cluster.start(manifest, folder, "--shard", "1/4")])
    assert 0 < len(cluster.lines(folder)) < 8
    cluster.finish([cluster.start(manifest, folder, "--cluster", nodes.address)])
    assert cluster.lines(folder) == cluster.lines(tmp_path / "one")


def say(request: DecodeRequest) -> DecodedWindow:
    time.sleep(0.2)
    return window([BEGIN, 1000 + int(request.search.seed[1]), BEGIN + 50, BEGIN + 50])


def scripted_worker(read: ReadElsewhere | None) -> UnitWorker:
    """Reads real files, here or in tasks; says the same of each wherever it is."""
    watch = RunningStopwatch()
    model = Model(RowImplementation(say), "tiny.en", stopwatch=watch)
    options = TranscribeOptions(temperatures=(0.0,), batch_size="auto")
    tries_again = read is None
    return UnitWorker(
        model, options, {}, Remote(), tries_again=tries_again, stopwatch=watch, read_elsewhere=read
    )


def test_four_workers_with_one_killed_give_the_records_of_one(
    nodes: Any, jfk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nodes have one made-up GPU each, so that tasks read; one recording is damaged."""
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no sound")
    places = [str(bad), *[str(jfk)] * 23]
    inputs = [
        Input(path, start_seconds=0.1 * i, duration_seconds=200.0, fields={"offset": 0.1 * i})
        for i, path in enumerate(places)
    ]
    units = plan_units(inputs)
    expected = [
        record for each in scripted_worker(None).transcribe(units) for record in each.records
    ]
    monkeypatch.setenv("MAXWHISPER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")  # none would be too few for Ray
    added = [
        nodes.add_node(num_cpus=1, num_gpus=1, object_store_memory=80 * 2**20) for _ in range(4)
    ]
    ray = connect(nodes.address)
    pool = ActorPool(ray, scripted_worker, units, files=[SharedFile("models", "none.pt", b"0")])
    records: list[dict[str, Any]] = []
    n_workers = set()
    for _, place, each in pool:
        assert place.startswith("scripted on cpu of ")
        assert each.reading_seconds is not None
        records += each.records
        n_workers.add(pool.n_workers)
        if n_workers and pool.n_workers == 4 and len(added) == 4:
            nodes.remove_node(added.pop())
    assert (tmp_path / "cache" / "models" / "none.pt").read_bytes() == b"0"
    assert max(n_workers) == 4
    assert len(added) == 3
    by_id = [sorted(each, key=lambda record: int(record["id"])) for each in (expected, records)]
    assert by_id[0] == by_id[1]
    assert [record["id"] for record in records if "error" in record] == [0]
