"""Distribution of the suite over processes: which tests stay together, and when one is enough."""

import os
from types import SimpleNamespace
from typing import Any

import pytest

from implementations import nvidia
from tests.support import workers

EQUALITY = "tests/transcription/test_whisper_equality.py::test_equals_whisper"


def config(**changes: Any) -> Any:
    """Returns the settings of a run of the whole suite, with changes."""
    source = pytest.Config.ArgsSource.TESTPATHS
    options = {"keyword": "", "collectonly": False, "capture": "fd", "markexpr": "not full"}
    options |= changes
    return SimpleNamespace(
        args_source=options.pop("args_source", source), option=SimpleNamespace(**options)
    )


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine of eight processors with memory for three processes, and without a GPU."""
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": int(8.5 * 2**30 / 4096)}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
    monkeypatch.setattr(workers, "available_threads", lambda: 8)
    monkeypatch.setattr(nvidia, "architecture", lambda _: None)
    return monkeypatch


def test_each_process_has_a_processor_and_its_memory(machine: pytest.MonkeyPatch) -> None:
    assert workers.n_workers(config()) == 3
    machine.setattr(workers, "available_threads", lambda: 2)
    assert workers.n_workers(config()) == 2
    machine.setattr(workers, "available_threads", lambda: 1)
    assert workers.n_workers(config()) == 0


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")
@pytest.mark.parametrize(
    ("available", "shares"), [(8, [{1, 4, 7}, {2, 5}, {3, 6}]), (4, [{1}, {2}, {3}])]
)
def test_processes_share_no_processor(
    machine: pytest.MonkeyPatch, available: int, shares: list[set[int]]
) -> None:
    machine.setattr(os, "sched_getaffinity", lambda _: set(range(1, 9)))
    machine.setattr(workers, "available_threads", lambda: available)
    found: list[set[int]] = []
    machine.setattr(os, "sched_setaffinity", lambda _, processors: found.append(set(processors)))
    for worker in ("gw0", "gw1", "gw2", "gw3"):  # the last one replaces one that crashed
        workers.keep_to_own_processors(worker, n_workers=3)
    assert found == [set(sorted(s)[: available // 3]) for s in (*shares, shares[0])]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")
def test_more_processes_than_processors_share_them(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    machine.setattr(workers, "available_threads", lambda: 2)
    found: list[list[int]] = []
    machine.setattr(os, "sched_setaffinity", lambda _, processors: found.append(processors))
    for worker in ("gw0", "gw1", "gw2"):
        workers.keep_to_own_processors(worker, n_workers=3)
    assert found == [[3], [5], [3]]


@pytest.mark.parametrize(
    "changes",
    [
        {"keyword": "window"},
        {"collectonly": True},
        {"capture": "no"},
        {"args_source": pytest.Config.ArgsSource.ARGS},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_part_of_it_has_one(machine: pytest.MonkeyPatch, changes: dict[str, Any]) -> None:
    assert workers.n_workers(config(**changes)) == 0


def test_a_gpu_has_one(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(nvidia, "architecture", lambda _: "sm_90a")
    assert workers.n_workers(config()) == 0


def test_graphs_are_compiled_for_all_tests_and_not_for_chosen_marks() -> None:
    assert workers.runs_graphs(config())
    assert workers.runs_graphs(config(markexpr=""))
    assert not workers.runs_graphs(config(markexpr="not max"))
    assert not workers.runs_graphs(config(keyword="window"))


def test_a_unit_is_a_file_or_what_shares_windows() -> None:
    assert workers.unit("tests/test_words.py::test_one[cpu-a]") == "tests/test_words.py"
    cases = ("cpu-base-jfk-beam5", "full-max-base-jfk-beam5", "cpu-base-jfk-greedy")
    assert {workers.unit(f"{EQUALITY}[{case}]") for case in cases} == {f"{EQUALITY}[base-jfk]"}
    assert workers.unit(f"{EQUALITY}[cpu-base-sonnet-greedy]") == f"{EQUALITY}[base-sonnet]"


def test_what_needs_graphs_comes_last() -> None:
    def item(node_id: str, *fixtures: str) -> Any:
        return SimpleNamespace(
            nodeid=node_id, fixturenames=fixtures, get_closest_marker=lambda _: None
        )

    kernel = item("tests/implementations/max_graph/cpu/test_a.py::a")
    of_all = [item("tests/test_b.py::b"), item("tests/test_b.py::c", "impl")]
    other = item("tests/test_d.py::d")
    assert workers.in_order([kernel, *of_all, other]) == [other, *of_all, kernel]
