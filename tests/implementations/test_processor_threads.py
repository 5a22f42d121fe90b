"""Threads: at most what affinity and cgroup allow, asleep where they wait; none in a fork."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import maxwhisper_cli
from implementations import forking, processor_threads, registry
from implementations.errors import ImplementationUnavailableError
from implementations.processor_threads import available_threads, default_threads
from maxwhisper_cli import model_loading
from maxwhisper_cli.transcription.options import OptionsError
from tests.test_architecture import ROOT

FORKED = """
import multiprocessing, os, sys
import maxwhisper_cli
from maxwhisper_cli import MaxWhisperError, TranscribeOptions

import numpy as np
silence = np.zeros(16000, np.float32)
greedy = TranscribeOptions(beam_size=None, temperatures=(0.0,))
model = maxwhisper_cli.load("tiny.en", sys.argv[1], offline=True)
if sys.argv[2] == "used":
    model.transcribe(silence, greedy)

def try_all(results):
    def say(action):
        try:
            action()
        except MaxWhisperError as error:
            results.put(f"{type(error).__name__}: {error}")
        else:
            results.put("worked")
    say(lambda: model.transcribe(silence, greedy))
    say(lambda: list(model.stream(silence, greedy)))
    say(lambda: [d.error for d in model.transcribe_several([silence], greedy) if raise_(d.error)])
    say(lambda: maxwhisper_cli.load("tiny.en", sys.argv[1], offline=True))
    say(model.close)

def raise_(error):
    raise error

context = multiprocessing.get_context("fork")
results = context.Queue()
child = context.Process(target=try_all, args=(results,))
child.start()
for _ in range(5):
    print(results.get(timeout=60))
child.join(60)
print(child.exitcode)
model.transcribe(silence, greedy)
print("parent goes on")
"""


@pytest.fixture
def cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of cgroups, with this process in `a/b`, on a machine of 8 processors."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    own = tmp_path / "own"
    own.write_text("1:cpu:/x\n0::/a/b\n")
    monkeypatch.setattr(processor_threads, "_CGROUPS", tmp_path)
    monkeypatch.setattr(processor_threads, "_OWN_CGROUP", own)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "content", "available"),
    [
        ("a/b/cpu.max", "200000 100000", 2),
        ("a/b/cpu.max", "150000 100000", 2),
        ("a/cpu.max", "50000 100000", 1),
        ("cpu.max", "300000 100000", 3),
        ("a/b/cpu.max", "max 100000", 8),
        ("a/b/cpu.max", "9900000 100000", 8),
        ("a/b/cpu.max", "nonsense", 8),
    ],
)
def test_quota_of_a_cgroup(cgroups: Path, file: str, content: str, available: int) -> None:
    (cgroups / file).write_text(f"{content}\n")
    assert available_threads() == available
    assert default_threads() == (0 if available == 8 else available)


def test_quota_of_an_older_cgroup(cgroups: Path) -> None:
    (cgroups / "cpu").mkdir()
    (cgroups / "cpu" / "cpu.cfs_quota_us").write_text("400000\n")
    (cgroups / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert available_threads() == 4
    (cgroups / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert available_threads() == 8


def test_the_users_count_for_openmp_is_theirs(
    cgroups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cgroups / "cpu.max").write_text("200000 100000\n")
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert default_threads() == 0


@pytest.mark.parametrize("n_threads", [-1, 1.5, "2", True, float("nan")])
def test_counts_that_are_none_are_refused(n_threads: object) -> None:
    with pytest.raises(OptionsError, match="n_threads"):
        maxwhisper_cli.load("tiny.en", "cpu", n_threads=n_threads)  # type: ignore[arg-type]


@pytest.mark.parametrize("n_threads", [2000, 100000, 99999999999])
def test_more_threads_than_there_are_become_those(
    monkeypatch: pytest.MonkeyPatch, n_threads: int
) -> None:
    for available, expected in ((1, "there is 1"), (4, "there are 4")):
        monkeypatch.setattr(model_loading, "available_threads", lambda n=available: n)
        note = f"of {n_threads} threads {expected} for this process; using {available}"
        assert model_loading.fit_threads(n_threads) == (available, (note,))
    assert model_loading.fit_threads(3) == (3, ())


@pytest.mark.parametrize(
    ("settings", "policy"),
    [
        ({}, ("PASSIVE", "0")),
        ({"OMP_WAIT_POLICY": "active"}, ("active", None)),
        ({"GOMP_SPINCOUNT": "7"}, (None, "7")),
    ],
)
def test_threads_sleep_unless_the_user_says_how(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], policy: tuple[str | None, ...]
) -> None:
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    for name in names:
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        monkeypatch.delenv(name)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    processor_threads.let_threads_sleep()
    assert tuple(os.environ.get(name) for name in names[:2]) == policy


def test_a_load_that_fails_early_leaves_forks_free(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_missing(name: str) -> None:
        raise ImplementationUnavailableError(name)

    monkeypatch.setattr(forking, "_loaded_in", None)
    monkeypatch.setattr(registry, "implementation_class", is_missing)
    with pytest.raises(ImplementationUnavailableError, match="cpu"):
        maxwhisper_cli.load("tiny.en", "cpu", offline=True)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    forking.refuse_fork()


@pytest.mark.parametrize(
    ("impl", "use"),
    [
        ("cpu", "used"),
        pytest.param("cpu", "unused", marks=pytest.mark.full),  # refused by the same code
        ("full-max", "used"),
        ("full-max", "unused"),
    ],
)
def test_a_fork_says_that_it_cannot(impl: str, use: str) -> None:
    if impl == "full-max":
        pytest.importorskip("max")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, impl, use],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert all("loaded before the process was forked" in line for line in lines[:3])
    assert lines[3].startswith("ImplementationUnavailableError: this process is a fork")
    assert lines[4:] == ["worked", "0", "parent goes on"]
