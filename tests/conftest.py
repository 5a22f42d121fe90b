"""Fixtures that every test may use: real recordings, fetched once."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from implementations import nvidia, registry
from maxwhisper_cli.samples import fetch_samples
from tests.support import references, workers
from tests.support.fake_gpus import fake_gpus
from tests.support.hardware import IMPLEMENTATIONS, skip_if_unavailable

if TYPE_CHECKING:
    from maxwhisper_cli.model import Model
    from tests.support.precompiled import Precompiler

__all__ = ["fake_gpus"]
"""Fixtures of tests/support."""

SHARED_AUDIO = Path(
    os.environ.get("MAXWHISPER_SHARED_AUDIO")
    or Path(__file__).parent.parent.parent / "shared" / "audio"
)
"""A folder of further recordings with a `manifest.json`; tests marked `full` go through it."""
PRECOMPILER: "pytest.StashKey[Precompiler]" = pytest.StashKey()


@pytest.fixture(autouse=True)
def gpus_are_for_tests_that_need_them(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All other tests, and the processes that they start, find none, whatever the machine has."""
    if request.node.get_closest_marker("gpu") is None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        monkeypatch.setattr(nvidia, "no_gpu_because", lambda: "hidden from this test")


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests, and the processes that they start, read no configuration of their user."""
    for variable in ("XDG_CONFIG_HOME", "XDG_CONFIG_DIRS"):
        monkeypatch.setenv(variable, str(Path(__file__).parent / "no-configuration"))


@pytest.fixture(params=IMPLEMENTATIONS)
def impl(request: pytest.FixtureRequest) -> str:
    """Each implementation that can run here."""
    skip_if_unavailable(request.param)
    return str(request.param)


@pytest.fixture
def quick_model() -> "Model":
    """tiny.en for tests that need a real model, whichever runs it: `full-max`, or else `cpu`."""
    from tests.support import loaded

    is_there = registry.unavailable_because("full-max") is None
    return loaded.model("tiny.en", "full-max" if is_there else "cpu")


@pytest.fixture(scope="session")
def jfk() -> Path:
    """11 s of English: 16 kHz mono 16-bit wav."""
    return fetch_samples(["jfk"])["jfk"]


@pytest.fixture(scope="session")
def sonnet() -> Path:
    """53 s of English: 44.1 kHz mp3."""
    return fetch_samples(["sonnet"])["sonnet"]


@pytest.fixture(scope="session")
def spanish() -> Path:
    """15 s of Spanish: opus."""
    return fetch_samples(["spanish"])["spanish"]


@pytest.fixture(scope="session")
def two_channels() -> Path:
    """52 s of English: 16 kHz wav with two channels."""
    return fetch_samples(["two-channels"])["two-channels"]


@pytest.fixture(scope="session")
def shared_audio() -> Path:
    """The folder of further recordings."""
    if not (SHARED_AUDIO / "manifest.json").is_file():
        pytest.skip(f"no recordings in {SHARED_AUDIO}; set MAXWHISPER_SHARED_AUDIO")
    return SHARED_AUDIO


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option that computes openai-whisper's results anew."""
    parser.addoption(
        "--recompute",
        action="store_true",
        help="compute all results of openai-whisper, also those that are kept",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Gives one of several processes its processors; sets what is computed anew."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        n_workers = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        workers.keep_to_own_processors(os.environ["PYTEST_XDIST_WORKER"], n_workers)
    references.recompute = config.getoption("recompute")


def pytest_report_header() -> list[str]:
    """Says how many results of openai-whisper are kept, and why GPU tests are left out."""
    lines = []
    if (n_kept := references.n_kept()) and not references.recompute:
        lines.append(
            f"openai-whisper: {n_kept} results are kept and reused; --recompute computes them"
        )
    if (reason := nvidia.no_gpu_because()) is not None:
        lines.append(f"tests marked gpu are left out: {reason}")
    return lines


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Returns how many processes run the tests; 0 is this one alone."""
    return workers.n_workers(config)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Returns a scheduler that keeps the tests of a unit together, in the order of the units."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    scheduler = LoadFileScheduling(config, log)
    scheduler._split_scope = workers.unit
    return scheduler


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what needs a GPU where there is none; orders what several processes share."""
    if nvidia.no_gpu_because() is not None:
        of_gpu = [item for item in items if item.get_closest_marker("gpu")]
        config.hook.pytest_deselected(items=of_gpu)
        items[:] = [item for item in items if item.get_closest_marker("gpu") is None]
    if "PYTEST_XDIST_WORKER" in os.environ:
        items[:] = workers.in_order(items)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Begins to compile what the tests of other processes need, beside them."""
    config = session.config
    if not config.pluginmanager.has_plugin("dsession"):
        return
    if workers.runs_graphs(config) and find_spec("max") is not None:
        from tests.support.precompiled import Precompiler

        config.stash[PRECOMPILER] = Precompiler()
        config.add_cleanup(config.stash[PRECOMPILER].stop)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Compiles what the whole suite needs at the same time, where one process runs all tests."""
    config = session.config
    needs_max = any(item.get_closest_marker("max") for item in session.items)
    is_alone = "PYTEST_XDIST_WORKER" not in os.environ
    if not (is_alone and needs_max and workers.is_whole_suite(config)) or find_spec("max") is None:
        return
    from tests.support.precompiled import precompile

    terminal = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")
    assert terminal is not None
    assert capture is not None
    with capture.global_and_fixture_disabled():
        precompile(terminal.write_line)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Says what was compiled beside the tests."""
    precompiler = config.stash.get(PRECOMPILER, None)
    if precompiler is not None and precompiler.lines:
        terminalreporter.section("compiled beside the tests")
        for line in precompiler.lines:
            terminalreporter.write_line(line)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a test with the argument `shared_audio_file` once for each further recording."""
    if "shared_audio_file" not in metafunc.fixturenames:
        return
    found = sorted(
        path
        for path in (SHARED_AUDIO.iterdir() if SHARED_AUDIO.is_dir() else ())
        if path.suffix not in (".json", ".md")
    )
    missing = pytest.mark.skip(reason=f"no recordings in {SHARED_AUDIO}")
    cases = [pytest.param(path, id=path.name) for path in found]
    metafunc.parametrize(
        "shared_audio_file", cases or [pytest.param(None, marks=missing, id="no-recordings")]
    )
