"""Settings of files and the environment on the command line: order, checks, safety, sources."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import FakeModels, MakeSound, RunCommandLine


@pytest.fixture(autouse=True)
def no_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file of the user who runs the tests is read."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "system"))


def configure(text: str, path: str = "maxwhisper.toml") -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def explained(maxwhisper: RunCommandLine, key: str, command: str = "transcribe") -> tuple[str, str]:
    done = maxwhisper("config", "--json")
    assert done.exit_code == 0, done.stderr
    entry = json.loads(done.stdout)["settings"][command][key]
    return entry["value"], entry["source"]


def test_a_file_sets_an_option(
    maxwhisper: RunCommandLine, models: FakeModels, sound: MakeSound
) -> None:
    configure('impl = "cpu"\n[transcribe]\noutput-format = ["srt", "tsv"]\nthreads = 3\n')
    done = maxwhisper("transcribe", sound(), "--model", "tiny.en")
    assert done.exit_code == 0, done.stderr
    assert sorted(p.name for p in Path().iterdir()) == ["maxwhisper.toml", "talk.srt", "talk.tsv"]
    assert models.calls[0]["impl"] == "cpu"
    assert models.calls[0]["n_threads"] == 3


def test_the_order_is_command_line_environment_nearest_file_user_system(
    maxwhisper: RunCommandLine,
    models: FakeModels,
    sound: MakeSound,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    talk = sound()
    arguments: list[str] = []

    def used() -> int:
        assert maxwhisper("transcribe", talk, "--model", "tiny.en", *arguments).exit_code == 0
        return int(models.calls[-1]["n_threads"])

    configure("threads = 1\n", str(tmp_path / "system" / "maxwhisper" / "maxwhisper.toml"))
    assert (used(), explained(maxwhisper, "threads")) == (1, ("1", "system"))
    configure("threads = 2\n", str(tmp_path / "user" / "maxwhisper" / "maxwhisper.toml"))
    assert (used(), explained(maxwhisper, "threads")) == (2, ("2", "user"))
    configure("threads = 3\n")
    assert (used(), explained(maxwhisper, "threads")) == (3, ("3", "project"))
    configure("threads = 3\n[transcribe]\nthreads = 4\n")
    assert (used(), explained(maxwhisper, "threads")) == (4, ("4", "project"))
    monkeypatch.setenv("MAXWHISPER_THREADS", "5")
    assert (used(), explained(maxwhisper, "threads")) == (5, ("5", "environment"))
    arguments += ["--threads", "6"]
    assert used() == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("beem-size = 3", "beem-size: not a setting; did you mean beam-size?"),
        ("[trnscribe]", r"\[trnscribe\]: not a setting; did you mean transcribe?"),
        ("[transcribe]\ntarget = 'x'", "transcribe.target: not a setting"),
        ("[transcribe]\nbeam-size = '3'", "transcribe.beam-size: a number without quotes"),
        ("beam_size = 1\nbeam-size = 2", "beam-size: given twice"),
        ("impl = 'foo'", "impl: 'foo' is none of auto"),
        ("vad = 1", "vad: true or false, not 1"),
        ("offline = 'yes'", "offline: true or false, not 'yes'"),
        ("language = 3", "language: a text, not 3"),
        ("temperature = true", "temperature: a number, not true"),
        ("threads = -2", "threads: '-2' is below 0"),
        ("seed = inf", "seed: 'inf' is not a valid int"),
        ("beam-size = 2024-01-01", "beam-size: a number, not datetime"),
        ("beam-size = [1]", "beam-size: a number, not"),
        ("output-format = [[1]]", "output-format: a text or a list of texts"),
    ],
)
def test_a_wrong_setting_is_an_error_that_names_it(
    maxwhisper: RunCommandLine, sound: MakeSound, text: str, message: str
) -> None:
    path = configure(text).absolute()
    for command in (["transcribe", str(sound())], ["config"]):
        done = maxwhisper(*command)
        assert done.exit_code == 2
        assert done.stderr.startswith(f"error: {path}: ")
        assert message.replace("\\", "") in done.stderr
    assert maxwhisper("transcribe", "--help").exit_code == 0
    assert maxwhisper("cache").exit_code == 0
    assert maxwhisper("--no-config", "config").exit_code == 0


@pytest.mark.parametrize("place", ["/etc", "../x", "link/x", "~"])
@pytest.mark.parametrize("key", ["output-dir", "model-dir"])
def test_a_projects_file_writes_nowhere_else(
    maxwhisper: RunCommandLine, sound: MakeSound, tmp_path: Path, key: str, place: str
) -> None:
    Path("link").symlink_to(tmp_path)
    configure(f'{key} = "{place}"')
    done = maxwhisper("transcribe", sound())
    if place == "~":  # a folder of that name
        assert explained(maxwhisper, key)[0] == str(Path("~").absolute())
        return
    assert done.exit_code == 2
    assert f"'{place}' lies outside its folder" in done.stderr


def test_a_relative_folder_of_a_project_is_the_projects(
    maxwhisper: RunCommandLine, sound: MakeSound, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure('output-dir = "out"\noutput-format = "txt"\n')
    project = Path.cwd()
    Path("deeper").mkdir()
    monkeypatch.chdir("deeper")
    assert maxwhisper("transcribe", sound(), "--model", "tiny.en").exit_code == 0
    assert (project / "out" / "talk.txt").is_file()


def test_own_configuration_may_name_any_folder(
    maxwhisper: RunCommandLine, sound: MakeSound, tmp_path: Path
) -> None:
    chosen = configure(f'output-dir = "{tmp_path}/far"\noutput-format = "txt"\n', "mine.toml")
    done = maxwhisper("--config-file", chosen, "transcribe", sound(), "--model", "tiny.en")
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "far" / "talk.txt").is_file()


def test_a_variable_that_is_wrong_is_named(
    maxwhisper: RunCommandLine, sound: MakeSound, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAXWHISPER_BEAM_SIZE", "many")
    done = maxwhisper("transcribe", sound())
    assert done.exit_code == 2
    assert "(in the environment: MAXWHISPER_BEAM_SIZE)" in done.stderr


def test_config_lists_every_option_of_transcribe(maxwhisper: RunCommandLine) -> None:
    shown = maxwhisper("config").stdout
    assert "no file was found" in shown
    assert "\nbeam-size " in shown
    assert maxwhisper("config", "cache").exit_code == 2
