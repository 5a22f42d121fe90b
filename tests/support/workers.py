"""The whole suite on several processes at once: how many, and which tests stay together.

Tests of a unit run in one process, one after the other, and share what their fixtures made. Units
that need compiled graphs come last, while others run as the graphs are compiled. Single tests and
files run in one process, as all do with `-n0`.
"""

import os
import re

import pytest

from implementations import nvidia, registry
from implementations.processor_threads import available_threads

MAX_WORKERS = 8
"""Each one imports everything and collects all tests, for some seconds of processor time."""
GIB_PER_WORKER = 2.5
"""Memory of a process with its models, and of a compiler."""
SPLIT = {"tests/transcription/test_whisper_equality.py"}
"""Files whose tests share no more than a model's windows of a recording, each of which is a unit:
all that stands in a test's name but the implementation and the search."""
NEED_GRAPHS = (
    "tests/implementations/test_hybrid.py",
    "tests/implementations/test_processor_threads.py",
    "tests/implementations/max_graph/",
)
"""Beginnings of paths of tests that run MAX graphs, beside those with a mark or fixture for it."""
LAST = "tests/implementations/max_graph/"
"""Short units, which even out at the end who has done more."""

_SEARCHED_BY = re.compile(rf"(?<=\[)(?:{'|'.join(registry.names())})-|-(?:greedy|beam5)(?=\])")


def n_workers(config: pytest.Config) -> int:
    """Returns the number of processes, each with a processor and its memory, or 0 for this one.

    It is 0 unless the whole suite is run, and where a GPU that tests use has one memory for all.
    """
    if not is_whole_suite(config) or config.option.capture == "no":
        return 0
    if nvidia.architecture("cuda") in nvidia.KNOWN_ARCHITECTURES:
        return 0
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    n = min(available_threads(), int(gib / GIB_PER_WORKER), MAX_WORKERS)
    return n if n > 1 else 0


def keep_to_own_processors(worker: str, n_workers: int) -> None:
    """Lets this process, and all that it starts, run on its share of the processors alone.

    Threads that wait for one another while another process has their processor cost more than the
    second processor gives (two processors, base, Spanish, sampled: one process of two threads takes
    21 s, two processes of two threads 86 s, two processes with a processor each 29 s).

    Args:
        worker: Name of the process: `gw0`, `gw1`, ...
        n_workers: Number of processes.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    index = int(worker.removeprefix("gw")) % n_workers  # one in place of a crashed one counts on
    n_each = max(1, available_threads() // n_workers)
    processors = sorted(os.sched_getaffinity(0))
    own = processors[index::n_workers][:n_each] or [processors[index % len(processors)]]
    os.sched_setaffinity(0, own)


def is_whole_suite(config: pytest.Config) -> bool:
    """Returns True unless some tests were asked for, or only their names."""
    is_whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    return is_whole and not (config.option.keyword or config.option.collectonly)


def runs_graphs(config: pytest.Config) -> bool:
    """Returns True for the whole suite, unless marks were chosen, which may leave graphs out."""
    return is_whole_suite(config) and config.option.markexpr in {"", "not full"}


def unit(node_id: str) -> str:
    """Returns the name of the unit that a test belongs to: its file, or a part of it."""
    path = node_id.partition("::")[0]
    return _SEARCHED_BY.sub("", node_id) if path in SPLIT else path


def in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """Returns tests in the order in which their units begin: those that need graphs late."""
    late = {unit(item.nodeid) for item in items if _needs_graphs(item)}

    def rank(item: pytest.Item) -> tuple[bool, bool]:
        return item.nodeid.startswith(LAST), unit(item.nodeid) in late

    return sorted(items, key=rank)


def _needs_graphs(item: pytest.Item) -> bool:
    fixtures = getattr(item, "fixturenames", ())
    has_mark = item.get_closest_marker("max") is not None
    runs_all = not {"impl", "implementation", "quick_model"}.isdisjoint(fixtures)
    return has_mark or runs_all or item.nodeid.startswith(NEED_GRAPHS)
