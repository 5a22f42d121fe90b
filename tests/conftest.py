"""Fixtures that every test may use: real recordings, fetched once."""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from implementations import nvidia
from maxwhisper_cli.samples import fetch_samples
from tests.support.hardware import IMPLEMENTATIONS, skip_if_unavailable

SHARED_AUDIO = Path(
    os.environ.get("MAXWHISPER_SHARED_AUDIO")
    or Path(__file__).parent.parent.parent / "shared" / "audio"
)
"""A folder of further recordings with a `manifest.json`; tests marked `full` go through it."""


@pytest.fixture(autouse=True)
def gpus_are_for_tests_that_need_them(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All other tests, and the processes that they start, find none, whatever the machine has."""
    if request.node.get_closest_marker("gpu") is None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        monkeypatch.setattr(nvidia, "no_gpu_because", lambda: "hidden from this test")


@pytest.fixture(params=IMPLEMENTATIONS)
def impl(request: pytest.FixtureRequest) -> str:
    """Each implementation that can run here."""
    skip_if_unavailable(request.param)
    return str(request.param)


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


def pytest_collection_finish(session: pytest.Session) -> None:
    """Compile what the tests need at the same time, unless only some of them were asked for."""
    config = session.config
    is_whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    is_whole = is_whole and not (config.option.keyword or config.option.collectonly)
    needs_max = any(item.get_closest_marker("max") for item in session.items)
    if not is_whole or not needs_max or find_spec("max") is None:
        return
    from tests.support.precompiled import precompile

    terminal = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")
    assert terminal is not None
    assert capture is not None
    with capture.global_and_fixture_disabled():
        precompile(terminal.write_line)


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
