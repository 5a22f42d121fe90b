"""Errors of the system: no home, no temporary folder, proxies, certificates, address space."""

import os
import pwd
import resource
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from implementations import registry
from implementations.choose import choose
from implementations.errors import ImplementationUnavailableError
from implementations.memory import no_address_space_because
from implementations.options import LoadOptions
from maxwhisper_cli.compare.history import history_folder
from maxwhisper_cli.system_errors import refusal
from tests.cli.conftest import MakeSound, RunCommandLine, names
from tests.cli.test_processes import COMMAND, PLAIN
from tests.support.scripted import TINY_EN
from weights.cache import cache_root, expanded, openai_whisper_folder, set_aside
from weights.checkpoint import Checkpoint
from weights.errors import MaxWhisperError, WeightsError

ROOT = str(Path(__file__).parents[2])


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user of whom the system knows nothing but a number."""

    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    variables = ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "MAXWHISPER_CACHE")
    for variable in (*variables, "MAXWHISPER_HISTORY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.mark.usefixtures("no_home")
@pytest.mark.parametrize("chosen", [None, "cache"])
def test_commands_without_a_home(
    maxwhisper: RunCommandLine,
    sound: MakeSound,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    chosen: str | None,
) -> None:
    if chosen is not None:
        monkeypatch.setenv("MAXWHISPER_CACHE", str(tmp_path / chosen))
    for arguments in (("models",), ("cache",), ("history",), ("samples",), ("cache", "clear")):
        done = maxwhisper(*arguments)
        assert (done.exit_code, "error" in done.stderr) == (0, False), arguments
    assert maxwhisper("transcribe", sound(), "-f", "txt").exit_code == 0
    assert names(Path.cwd()) == ["talk.txt"], "nothing is made in a folder called ~"


@pytest.mark.usefixtures("no_home")
def test_the_folder_without_a_home_is_the_users_alone(tmp_path: Path) -> None:
    folder = cache_root()
    assert folder == tmp_path / f"maxwhisper-{os.getuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert history_folder().is_relative_to(folder)
    assert openai_whisper_folder().is_relative_to(folder)
    folder.chmod(0o777)
    with pytest.raises(WeightsError, match="is not safe: set MAXWHISPER_CACHE"):
        cache_root()
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(WeightsError, match="is not safe"):
        cache_root()
    with pytest.raises(WeightsError, match="give a whole path"):
        expanded(Path("~/models"))
    with pytest.raises(WeightsError, match="give a whole path"):
        expanded(Path("~nobody-of-that-name/models"))


@pytest.mark.usefixtures("no_home")
def test_neither_a_home_nor_a_temporary_folder(
    maxwhisper: RunCommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    done = maxwhisper("cache")
    assert done.exit_code == 1
    assert "No usable temporary directory found): set MAXWHISPER_CACHE" in done.stderr


@pytest.mark.parametrize("temporary", ["missing", "/dev/full"])
def test_standard_input_without_room_for_it(
    sound: MakeSound, tmp_path: Path, temporary: str
) -> None:
    """The pipe is copied, since recordings are read in more than one pass."""
    code = f"""
import sys, tempfile
from maxwhisper_cli.__main__ import main
import maxwhisper_cli.model
from tests.support.fake_models import FakeModels
maxwhisper_cli.model.load = FakeModels().load
if {temporary!r} == "missing":
    tempfile.tempdir = "/nonexistent"
else:
    real = tempfile.TemporaryFile
    def full(*_, **__):
        return open("/dev/full", "r+b", buffering=0)
    for name in ("reader", "source"):
        module = sys.modules.get(f"maxwhisper_cli.audio.{{name}}")
        if hasattr(module, "TemporaryFile"):
            module.TemporaryFile = full
main()
"""
    with subprocess.Popen(["cat", str(sound(seconds=5.0))], stdout=subprocess.PIPE) as piped:
        done = subprocess.run(
            [sys.executable, "-c", code, "transcribe", "-", "-o", "-", "-f", "txt", "-q"],
            cwd=tmp_path,
            env={**PLAIN, "PYTHONPATH": ROOT},
            stdin=piped.stdout,
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"ALL_PROXY": "socks5://127.0.0.1:1"}, "socksio"),
        ({"HTTPS_PROXY": "nonsense://127.0.0.1:1"}, "HTTPS_PROXY"),
        ({"SSL_CERT_FILE": "/nonexistent"}, "SSL_CERT_FILE"),
    ],
    ids=["socks", "proxy", "certificates"],
)
@pytest.mark.parametrize(
    "arguments", [("transcribe", "talk.wav", "--model", "tiny"), ("samples", "fetch", "jfk")]
)
def test_network_settings_come_from_the_environment(
    sound: MakeSound,
    tmp_path: Path,
    variables: dict[str, str],
    expected: str,
    arguments: tuple[str, ...],
) -> None:
    """No packages give `tiny`, and an index that is not there gives no samples."""
    sound("talk.wav")
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=tmp_path,
        env={
            **PLAIN,
            "PYTHONPATH": ROOT,
            "MAXWHISPER_CACHE": str(tmp_path / "cache"),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "PIP_INDEX_URL": "https://127.0.0.1:1/simple",
            "NO_PROXY": "",
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr


def test_too_little_address_space_fails_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """MAX would end the process by SIGILL or SIGABRT, and the C library below what torch needs."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2_000_000_000, -1))
    reason = "needs 3.2 GB of address space, and may take 2.0 GB; raise ulimit -v"
    assert reason in str(registry.unavailable_because("full-max"))
    assert registry.unavailable_because("cpu") is None
    expected = str(refusal(MemoryError(), "talk.wav"))
    assert expected.startswith("talk.wav: there is too little memory (at most 2,000 MB: ulimit -v)")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (600_000_000, -1))
    assert "needs 0.9 GB of address space" in str(registry.unavailable_because("cpu"))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert no_address_space_because(2**62) is None


def test_larger_model_needs_more_address_space(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"tiny": 37_000_000, "more": 100_000_000}
    arrays = {name: np.empty(n_elements, np.int8) for name, n_elements in sizes.items()}
    small = Checkpoint(TINY_EN, {"tiny": arrays["tiny"]}, (), Path("model.pt"))
    large = Checkpoint(TINY_EN, arrays, (), Path("model.pt"))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (3_900_000_000, -1))
    registry.check_address_space("full-max", small)
    registry.check_address_space("cpu", large)
    with pytest.raises(ImplementationUnavailableError, match=r"needs 4\.0 GB of address space"):
        registry.check_address_space("full-max", large)


def test_auto_chooses_by_address_space(
    maxwhisper: RunCommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2_000_000_000, -1))
    listed = maxwhisper("implementations").stdout
    assert "address" in listed
    options = LoadOptions()
    checkpoint = Checkpoint(TINY_EN, {}, (), Path("model.pt"))
    chosen = choose(checkpoint, options)
    assert (chosen.name, chosen.hint) == ("cpu", None)  # no package would help full-max
    monkeypatch.setattr(resource, "getrlimit", lambda _: (600_000_000, -1))
    with pytest.raises(ImplementationUnavailableError, match=r"cpu: it needs 0\.9 GB of address"):
        choose(checkpoint, options)


def test_foreign_file_with_the_name_of_a_fetched_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "tiny.en.pt"
    for text in ("first", "second"):
        path.write_text(text)
        set_aside(path)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {
        "tiny.en.pt.old1": "first",
        "tiny.en.pt.old2": "second",
    }
    set_aside(path)  # nothing is there


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermissionError(13, "Permission denied", "a\x1b.wav"), "a\\x1b.wav: the system refuses"),
        (OSError("odd"), "the system refuses it: odd"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd"), "not text as it should be"),
        (RecursionError("deep"), "nested too deeply"),
    ],
)
def test_a_refusal_is_a_sentence(error: Exception, expected: str) -> None:
    found = refusal(error)
    assert isinstance(found, MaxWhisperError)
    assert expected in str(found)


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("moment", ["opening", "reading"])
def test_one_bad_input_costs_no_other(
    maxwhisper: RunCommandLine,
    sound: MakeSound,
    monkeypatch: pytest.MonkeyPatch,
    batch_size: int,
    moment: str,
) -> None:
    from maxwhisper_cli.audio.reader import open_audio

    def refuse(source: object, *arguments: object, **settings: object) -> object:
        errors = {"memory.wav": MemoryError(), "disk.wav": OSError(5, "odd")}
        error = errors.get(Path(str(source)).name)
        if error is not None and moment == "opening":
            raise error
        opened = open_audio(source, *arguments, **settings)  # type: ignore[arg-type]
        if error is not None:
            monkeypatch.setattr(opened, "_selected", partial(fail, error))
        return opened

    def fail(error: BaseException) -> Iterator[object]:
        raise error
        yield

    monkeypatch.setattr("maxwhisper_cli.recording.open_audio", refuse)
    files = [sound("memory.wav"), sound("disk.wav"), sound("good.wav")]
    done = maxwhisper("transcribe", *files, "-f", "txt", "--batch-size", str(batch_size))
    assert (done.exit_code, names(Path.cwd())) == (1, ["good.txt"])
    for name in ("memory.wav", "disk.wav"):
        assert f"{name}: " in done.stderr
    assert done.stderr.endswith("error: 2 of 3 files failed\n")
