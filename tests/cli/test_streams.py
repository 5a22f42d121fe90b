"""Standard streams: what goes where, and streams that are closed, full or left by their reader."""

import io
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from maxwhisper_cli import console
from maxwhisper_cli.console import Terminal
from maxwhisper_cli.standard_streams import GuardedOutput
from tests.cli.conftest import MakeSound, RunCommandLine, names
from tests.cli.test_processes import COMMAND, PLAIN, SCRIPTED, on_a_terminal
from weights.errors import MaxWhisperError
from weights.printable import printable

ROOT = str(Path(__file__).parents[2])
ENVIRONMENT = {**PLAIN, "PYTHONPATH": ROOT}
SEGMENT_LINE = "[00:00.000 --> 00:01.000] Grüße, 世界.\n"


def scripted(
    *arguments: str | Path, cwd: Path, shell: str = '"$@"', **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs the command line on a scripted model, with what a shell does to its streams."""
    command = [sys.executable, "-c", SCRIPTED, *map(str, arguments)]
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {shell}", "shell", *command],
        cwd=cwd,
        env={**ENVIRONMENT, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "variables",
    [{"FORCE_COLOR": "1", "CI": "1"}, {"TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "1"}],
    ids=lambda variables: next(iter(variables)),
)
def test_the_environment_makes_no_terminal(
    sound: MakeSound, tmp_path: Path, variables: dict[str, str]
) -> None:
    arguments = ("transcribe", sound(), tmp_path / "missing.wav", "-f", "txt", "-o", "-")
    done = scripted(*arguments, cwd=tmp_path, **variables)
    assert (done.returncode, done.stdout) == (1, "Grüße, 世界.\n")
    assert "missing.wav does not exist" in done.stderr
    assert "\x1b" not in done.stderr


def test_a_reader_that_leaves_costs_no_file(sound: MakeSound, tmp_path: Path) -> None:
    files = [sound("long.wav", 200.0), sound("second.wav")]
    (tmp_path / "here").mkdir()
    done = scripted("transcribe", *files, cwd=tmp_path / "here", shell='"$@" | head -1')
    assert (done.returncode, done.stdout) == (0, SEGMENT_LINE)
    assert "Traceback" not in done.stderr
    assert len(names(tmp_path / "here")) == 2 * 5


def test_closed_reader_ends_a_run_that_only_prints(sound: MakeSound, tmp_path: Path) -> None:
    done = scripted(
        *("transcribe", sound("a.wav"), sound("b.wav"), "-f", "txt", "-o", "-", "-q"),
        cwd=tmp_path,
        shell='"$@" | true',
    )
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("form", [[], ["--jsonl"]])
@pytest.mark.parametrize(("shell", "exit_code"), [('"$@" | true', 0), ('"$@" >/dev/full', 1)])
def test_live_files_are_written_without_a_reader(
    jfk: Path, tmp_path: Path, shell: str, exit_code: int, form: list[str]
) -> None:
    options = ("--model", "tiny.en", "-f", "txt", "-o", tmp_path)
    done = scripted("listen", jfk, *options, *form, cwd=tmp_path, shell=shell)
    assert done.returncode == exit_code, done.stderr
    assert len((tmp_path / "jfk.txt").read_text().splitlines()) == 3, "the speech has two pauses"
    assert done.stderr.count("error: ") == exit_code


@pytest.mark.parametrize("command", [[], ["transcribe"], ["parity"]])
def test_a_command_without_arguments_shows_its_help(tmp_path: Path, command: list[str]) -> None:
    done = scripted(*command, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert lines[0].startswith("Usage: maxwhisper ")
    assert len(lines) > 10
    assert "\\n" not in done.stderr


@pytest.mark.parametrize(
    ("shell", "expected"),
    [
        ('"$@" >/dev/full', "standard output cannot be written: No space left on device"),
        ('"$@" >&-', "standard output cannot be written: it is closed"),
    ],
)
def test_results_that_cannot_be_printed(
    sound: MakeSound, tmp_path: Path, shell: str, expected: str
) -> None:
    arguments = ("transcribe", sound(), "-f", "json", "-o", "-", "-q")
    done = scripted(*arguments, cwd=tmp_path, shell=shell)
    assert done.returncode == 1
    assert done.stderr == f"error: {expected}; choose another place\n"


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["models"]])
def test_output_without_a_command_fails_alike(tmp_path: Path, arguments: list[str]) -> None:
    done = scripted(*arguments, cwd=tmp_path, shell='"$@" >/dev/full')
    assert done.returncode == 1
    assert done.stderr.count("error: ") == done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("shell", "exit_code"),
    [('"$@" >/dev/full', 1), ('"$@" >&-', 0), ('"$@" <&- >&- 2>&-', 0), ('"$@" 2>/dev/full', 0)],
)
def test_files_are_written_with_any_streams(
    sound: MakeSound, tmp_path: Path, shell: str, exit_code: int
) -> None:
    """No output gets the number of a closed stream, into which libraries print."""
    (tmp_path / "here").mkdir()
    arguments = ("transcribe", sound("a.wav"), sound("b.wav"), "-f", "txt,json")
    done = scripted(*arguments, cwd=tmp_path / "here", shell=shell)
    assert done.returncode == exit_code
    assert names(tmp_path / "here") == ["a.json", "a.txt", "b.json", "b.txt"]
    assert (tmp_path / "here" / "b.txt").read_text("utf-8") == "Grüße, 世界.\n"


def test_standard_input_that_is_closed(tmp_path: Path) -> None:
    done = scripted("transcribe", "-", cwd=tmp_path, shell='"$@" <&-')
    assert done.returncode == 1
    assert done.stderr == "error: - is standard input: pipe a recording into it\n"


def test_control_characters_in_names_are_escaped(sound: MakeSound, tmp_path: Path) -> None:
    path = sound("\x1b[2J\x9b2J\u202ee\n.wav")
    arguments = ("transcribe", str(path), str(sound("other.wav")), "-f", "txt")
    drawn = on_a_terminal(*arguments, cwd=tmp_path)
    assert "\x1b[2J" not in drawn
    assert not {"\x9b", "\u202e"} & set(drawn)
    assert r"\x1b[2J\x9b2J\u202ee" in drawn.replace("\r\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["transcribe", "--\x1b[2Jx", "a.wav"],
        ["\x1b[2J"],
        ["--\x1b[2J"],
        ["transcribe", "a.wav", "--impl", "\x1b[2J"],
        ["transcribe", "a.wav", "-o", "\x1b[2J"],
        ["cache", "\x1b[2J"],
    ],
    ids=repr,
)
def test_a_wrong_command_line_is_shown_harmlessly(
    maxwhisper: RunCommandLine, arguments: list[str]
) -> None:
    done = maxwhisper(*arguments)
    assert done.exit_code in {1, 2}
    assert "\x1b" not in done.stderr + done.stdout


@pytest.mark.parametrize("before", ["", os.pathsep, f".{os.pathsep}"])
def test_the_current_folder_decides_nothing(tmp_path: Path, before: str) -> None:
    """By `python -m`, and by an empty entry of PYTHONPATH, which many have unknowingly."""
    for name in ("numpy", "typer", "rich", "weights", "yaml"):
        (tmp_path / f"{name}.py").write_text('open("RAN", "w")\n')
    done = subprocess.run(
        [*COMMAND, "implementations"],
        cwd=tmp_path,
        env={**ENVIRONMENT, "PYTHONPATH": f"{before}{ROOT}"},
        capture_output=True,
        check=True,
    )
    assert b"full-max" in done.stdout
    assert not (tmp_path / "RAN").exists()


def test_joining_signs_stay() -> None:
    assert printable("می\u200cشود 👩\u200d👩") == "می\u200cشود 👩\u200d👩"
    assert printable("\udcff\ud800\t\n", keep="\n") == "\\xff\\ud800\\t\n"


@contextmanager
def two_terminals() -> Iterator[tuple[io.TextIOWrapper, io.TextIOWrapper]]:
    """Two pseudo-terminals, open for writing."""
    pairs = [pty.openpty(), pty.openpty()]
    try:
        first, second = (os.fdopen(os.dup(theirs), "w") for _, theirs in pairs)
        with first, second:
            yield first, second
    finally:
        for descriptor in (number for pair in pairs for number in pair):
            os.close(descriptor)


def test_two_terminals_are_not_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with two_terminals() as (first, second):
        assert not console._are_one(first, second)
        monkeypatch.setattr(sys, "stdout", first)
        for stderr, is_shared in ((second, False), (first, True)):
            monkeypatch.setattr(sys, "stderr", stderr)
            terminal = Terminal()
            assert terminal.is_interactive
            assert terminal.draws_live
            assert (terminal._err is terminal._out) is is_shared


def test_a_guarded_stream_fails_once() -> None:
    failures: list[OSError] = []
    reading, writing = os.pipe()
    os.close(reading)
    stream = GuardedOutput(writing, failures.append)
    assert (stream.write(b"abc"), stream.write(b"de")) == (3, 2)
    assert [type(error) for error in failures] == [BrokenPipeError]
    os.close(writing)


INTERRUPTED = """
import io, signal
from maxwhisper_cli.standard_streams import GuardedOutput

def interrupt(*_):
    if is_writing:
        raise KeyboardInterrupt

is_writing = False
signal.signal(signal.SIGINT, interrupt)
raw = GuardedOutput(1, lambda error: None)
text = io.TextIOWrapper(io.BufferedWriter(raw), line_buffering=True)
for number in range(300):
    try:
        is_writing = True
        text.write(f"{number}\\n")
    except KeyboardInterrupt:
        pass
    is_writing = False
signal.signal(signal.SIGINT, signal.SIG_IGN)
text.flush()
"""


def test_an_interrupt_while_writing_repeats_nothing() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], env=ENVIRONMENT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            process.send_signal(signal.SIGINT)
            lines.append(int(line))
    assert process.returncode == 0
    assert lines == sorted(set(lines))
    assert len(lines) > 200  # one whose interrupt came before it was written is left out


def test_a_stream_that_does_not_wait_is_waited_for() -> None:
    """A parent in Node leaves its pipes so."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    text = b"x" * 2**20  # more than any pipe holds
    reader = subprocess.Popen(["wc", "-c"], stdin=reading, stdout=subprocess.PIPE, text=True)
    os.close(reading)
    with io.BufferedWriter(GuardedOutput(writing, lambda error: pytest.fail(str(error)))) as file:
        file.write(text)
    os.close(writing)
    assert reader.communicate()[0].split() == [str(len(text))]


BEFORE_THE_WORK = """
import os, signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)
from maxwhisper_cli import __main__
class Importing:
    def find_spec(self, name, path=None, target=None):
        if name == "maxwhisper_cli.app":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Importing())
__main__.main()
"""


def test_ctrl_c_while_it_starts(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BEFORE_THE_WORK, "models"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: stopped\n")


WHILE_READING_THE_COMMAND = """
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from maxwhisper_cli import __main__, app
class Interrupted(app.ErrorsToExitCodes):
    def {}(self, *args, **settings):
        os.kill(os.getpid(), signal.SIGINT)
app.ErrorsToExitCodes = Interrupted
__main__.main()
"""


@pytest.mark.parametrize("place", ["__init__", "make_context", "resolve_command"])
def test_ctrl_c_while_the_command_is_read(tmp_path: Path, place: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WHILE_READING_THE_COMMAND.format(place), "models"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: stopped\n")


def test_ctrl_c_is_ignored_where_the_caller_ignores_it(tmp_path: Path) -> None:
    stopping = BEFORE_THE_WORK.replace("signal.default_int_handler", "signal.SIG_IGN")
    done = subprocess.run(
        [sys.executable, "-c", stopping, "implementations"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0


def test_almost_nothing_is_imported_before_ctrl_c_has_an_answer() -> None:
    code = "import sys; before = set(sys.modules); import maxwhisper_cli.__main__\n"
    code += "import maxwhisper_cli.stopping; print(*(set(sys.modules) - before))"
    done = subprocess.run(  # without what this environment's own .pth files import
        [sys.executable, "-S", "-c", code],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    ours = {"maxwhisper_cli", "maxwhisper_cli.__main__", "maxwhisper_cli.stopping"}
    of_python = {"gc", "os", "os.path", "posixpath", "genericpath", "stat", "_stat"}
    of_python |= {"_collections_abc", "_signal"}
    assert ours <= set(done.stdout.split()) <= ours | of_python


@pytest.mark.parametrize("kind", [MemoryError, OSError, UnicodeError, RecursionError])
def test_system_error_is_one_line(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from maxwhisper_cli.app import make_app

    def refuse(_name: str) -> str:
        raise kind("refused")

    monkeypatch.setattr("implementations.registry.unavailable_because", refuse)
    with pytest.raises(SystemExit) as end:
        make_app()(["implementations"], prog_name="maxwhisper")
    assert end.value.code == 1
    expected = capsys.readouterr().err
    assert expected.startswith("error: ")
    assert expected.count("\n") == 1


def test_message_escapes_control_characters() -> None:
    assert str(MaxWhisperError("a\x1b[2J\n世界\u200d")) == "a\\x1b[2J 世界\u200d"
