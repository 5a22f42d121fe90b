"""`maxwhisper transcribe` with a scripted model: what it prints, writes and ends with."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from maxwhisper_cli.model import Model
from tests.cli.conftest import (
    SPOKEN,
    FakeModels,
    MakeSound,
    RunCommandLine,
    names,
    says,
    stopped_after,
)
from weights.dims import ModelDimensions

LINE = "[00:00.000 --> 00:01.000] Grüße, 世界.\n"
ESCAPE = "\x1b"


def test_piped_segments_are_plain_lines_and_all_formats_are_written(
    maxwhisper: RunCommandLine, sound: MakeSound
) -> None:
    done = maxwhisper("transcribe", sound("a.b.wav"))
    assert (done.exit_code, done.stdout) == (0, LINE)
    assert ESCAPE not in done.stdout + done.stderr
    assert "English, 0:01 of audio" in done.stderr
    assert names(Path()) == ["a.b.json", "a.b.srt", "a.b.tsv", "a.b.txt", "a.b.vtt"]
    assert Path("a.b.txt").read_bytes() == "Grüße, 世界.\n".encode()
    written = json.loads(Path("a.b.json").read_bytes())
    assert written["text"] == SPOKEN
    assert (written["implementation"], written["model"]) == ("scripted", "turbo")


@pytest.mark.parametrize("formats", [["-f", "txt,srt"], ["-f", "txt", "-f", "srt"]])
def test_chosen_formats_go_to_a_folder_that_is_made(
    maxwhisper: RunCommandLine, sound: MakeSound, formats: list[str]
) -> None:
    done = maxwhisper("transcribe", sound(), "-o", "new/folder", *formats)
    assert done.exit_code == 0
    assert names(Path("new/folder")) == ["talk.srt", "talk.txt"]


def test_one_format_alone_on_stdout(maxwhisper: RunCommandLine, sound: MakeSound) -> None:
    text = maxwhisper("transcribe", sound(), "-f", "txt", "-o", "-")
    assert (text.exit_code, text.stdout) == (0, "Grüße, 世界.\n")
    subtitles = maxwhisper("transcribe", sound(), "-f", "srt", "-o", "-")
    assert subtitles.stdout == "1\n00:00:00,000 --> 00:00:01,000\nGrüße, 世界.\n\n"
    assert names(Path()) == []


def test_several_texts_on_stdout_follow_each_other(
    maxwhisper: RunCommandLine, sound: MakeSound
) -> None:
    same_name = sound("x/a.wav"), sound("y/a.wav")
    done = maxwhisper("transcribe", *same_name, "-f", "txt", "-o", "-")
    assert (done.exit_code, done.stdout) == (0, "Grüße, 世界.\n" * 2)
    assert str(same_name[1]) in done.stderr, "files of one name are told apart by their folders"


@pytest.mark.parametrize(
    ("formats", "files", "expected"),
    [
        (["-f", "txt,srt"], ["a.wav"], "stdout takes one format"),
        ([], ["a.wav"], "stdout takes one format"),
        (["-f", "json"], ["a.wav", "b.wav"], "no valid json"),
    ],
)
def test_unprintable_combination_is_a_usage_error(
    maxwhisper: RunCommandLine,
    sound: MakeSound,
    models: FakeModels,
    formats: list[str],
    files: list[str],
    expected: str,
) -> None:
    done = maxwhisper("transcribe", *(sound(name) for name in files), "-o", "-", *formats)
    assert (done.exit_code, done.stdout) == (2, "")
    assert expected in done.stderr
    assert models.calls == []


def test_standard_input_is_named_stdin(maxwhisper: RunCommandLine, sound: MakeSound) -> None:
    done = maxwhisper("transcribe", "-", "-f", "txt", stdin=sound().read_bytes())
    assert (done.exit_code, done.stdout) == (0, LINE)
    assert names(Path()) == ["stdin.txt"]


def test_one_failure_does_not_stop_the_others(
    maxwhisper: RunCommandLine, sound: MakeSound, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_text("this is not audio")
    done = maxwhisper("transcribe", sound("a.wav"), broken, "gone.wav", sound("z.wav"), "-f", "txt")
    assert done.exit_code == 1
    assert names(Path()) == ["a.txt", "z.txt"]
    assert done.stdout == LINE * 2
    assert "Traceback" not in done.stderr
    assert "gone.wav does not exist" in done.stderr
    assert done.stderr.endswith("error: 2 of 4 files failed\n")
    table = done.stderr[done.stderr.index("status") :]
    assert [table.count(word) for word in (" ok", "failed:", "English")] == [2, 2, 2]
    assert "failed: does not exist\n" in table.replace("  ", "").replace(" \n", "\n")


def test_several_files_that_succeed_end_in_a_table_and_0(
    maxwhisper: RunCommandLine, sound: MakeSound
) -> None:
    done = maxwhisper("transcribe", sound("a.wav"), sound("b.wav"), "-f", "txt")
    assert done.exit_code == 0
    assert "status" in done.stderr


def test_one_file_that_fails_is_one_line(
    maxwhisper: RunCommandLine, tmp_path: Path, models: FakeModels
) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_text("this is not audio")
    done = maxwhisper("transcribe", broken)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.count("error: ") == done.stderr.count("\n") == 1
    assert len(models.calls) == 1


def test_nothing_is_loaded_for_files_that_do_not_exist(
    maxwhisper: RunCommandLine, models: FakeModels
) -> None:
    one = maxwhisper("transcribe", "gone.wav")
    two = maxwhisper("transcribe", "gone.wav", "lost.wav", "-f", "txt", "-o", "-")
    assert (one.exit_code, two.exit_code) == (1, 1)
    assert "gone.wav does not exist" in one.stderr
    assert models.calls == []
    assert names(Path()) == []


def test_outputs_that_clash_are_refused_before_any_work(
    maxwhisper: RunCommandLine, sound: MakeSound, models: FakeModels
) -> None:
    done = maxwhisper("transcribe", sound("a.wav"), sound("A.mp3"), "--output-name", "{stem}!")
    assert done.exit_code == 2
    assert "a.wav" in done.stderr
    assert "A.mp3" in done.stderr
    assert "--output-name" in done.stderr
    assert models.calls == []
    assert names(Path()) == []
    apart = maxwhisper(
        "transcribe", sound("a.wav"), sound("A.mp3"), "--output-name", "{name}", "-f", "txt"
    )
    assert apart.exit_code == 0
    assert names(Path()) == ["A.mp3.txt", "a.wav.txt"]


def test_unwritable_folder_fails_before_any_work(
    maxwhisper: RunCommandLine, sound: MakeSound, models: FakeModels
) -> None:
    Path("file").write_text("in the way")
    done = maxwhisper("transcribe", sound(), "-o", "file/folder")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: cannot make the output folder file/folder")
    assert models.calls == []


def test_existing_output_stays_if_the_run_fails(
    maxwhisper: RunCommandLine, sound: MakeSound, models: FakeModels
) -> None:
    Path("talk.txt").write_text("from before")

    models.script = stopped_after(0, says(SPOKEN, models.dims))
    done = maxwhisper("transcribe", sound(), "-f", "txt")
    assert (done.exit_code, done.stderr) == (130, "error: stopped\n")
    assert names(Path()) == ["talk.txt"]
    assert Path("talk.txt").read_text() == "from before"


def test_finished_files_stay_when_stopped(
    maxwhisper: RunCommandLine, sound: MakeSound, models: FakeModels
) -> None:
    models.script = stopped_after(1, says(SPOKEN, models.dims))
    done = maxwhisper("transcribe", sound("a.wav"), sound("b.wav"), "-f", "txt")
    assert done.exit_code == 130
    assert names(Path()) == ["a.txt"]


def test_quiet_and_verbose_false(maxwhisper: RunCommandLine, sound: MakeSound) -> None:
    quiet = maxwhisper("transcribe", sound(), "-q", "-f", "txt")
    assert (quiet.exit_code, quiet.stdout, quiet.stderr) == (0, "", "")
    assert names(Path()) == ["talk.txt"]
    several = maxwhisper("transcribe", sound("a.wav"), sound("b.wav"), "-q", "-f", "txt")
    assert (several.exit_code, several.stdout, several.stderr) == (0, "", "")
    calm = maxwhisper("transcribe", sound(), "--verbose", "False", "-f", "txt")
    assert calm.stdout == ""
    assert "wrote talk.txt" in calm.stderr


def test_an_english_model_warns_of_other_languages_and_of_translation(
    maxwhisper: RunCommandLine, sound: MakeSound
) -> None:
    done = maxwhisper("transcribe", sound(), "--language", "Spanish", "--task", "translate")
    assert done.exit_code == 0
    assert "warning: this model knows only English, not es; using English" in done.stderr
    assert "cannot translate" in done.stderr
    written = json.loads(Path("talk.json").read_text("utf-8"))
    assert (written["language"], written["task"]) == ("en", "transcribe")


def test_turbo_warns_of_translation(
    maxwhisper: RunCommandLine, sound: MakeSound, models: FakeModels, turbo_dims: ModelDimensions
) -> None:
    models.dims = turbo_dims
    arguments = ("transcribe", sound(), "--language", "es", "--task")
    assert "turbo was not trained to translate" in maxwhisper(*arguments, "translate").stderr
    assert "warning" not in maxwhisper(*arguments, "transcribe").stderr
    models.dims = replace(turbo_dims, n_text_layer=32)
    assert "warning" not in maxwhisper(*arguments, "translate").stderr


def test_clips_beyond_the_end_are_a_warning(maxwhisper: RunCommandLine, sound: MakeSound) -> None:
    done = maxwhisper("transcribe", sound(seconds=5), "--clip_timestamps", "6,7")
    assert done.exit_code == 0
    assert "warning: talk.wav ends at 0:05, before the clips" in done.stderr


def test_only_clips_count_as_transcribed_audio(
    maxwhisper: RunCommandLine, sound: MakeSound
) -> None:
    done = maxwhisper("transcribe", sound(seconds=65), "--clip_timestamps", "0,2,60")
    assert "0:07 of audio" in done.stderr


def test_a_channel_that_is_not_there(maxwhisper: RunCommandLine, sound: MakeSound) -> None:
    done = maxwhisper("transcribe", sound(), "--channel", "2", "-f", "txt")
    assert done.exit_code == 1
    assert "1 channel" in done.stderr


def test_progress_of_loading_is_printed_once(
    maxwhisper: RunCommandLine,
    sound: MakeSound,
    models: FakeModels,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(model: str, impl: str, **settings: Any) -> Model:
        for n_done in (0, 100_000_000, 145_000_000):
            settings["on_download"](n_done, 145_000_000)
        settings["on_compile"]("compiling the encoder")
        return models.load(model, impl, **settings)

    monkeypatch.setattr("maxwhisper_cli.model.load", load)
    done = maxwhisper("transcribe", sound(), "--model", "base", "-f", "txt")
    assert done.stderr.splitlines()[:2] == ["downloading base, 145 MB", "compiling the encoder"]
    assert done.stderr.count("downloading") == done.stderr.count("compiling") == 1
    assert "loading" not in maxwhisper("transcribe", sound(), "-q", "-f", "txt").stderr


def times_in(stderr: str) -> dict[str, float]:
    """Rows of the table of --timings, in seconds."""
    lines = stderr.partition("where the time went")[2].splitlines()[1:]
    cells = [re.split(r"  +", line.strip()) for line in lines]
    return {row[0]: float(row[1]) for row in cells if len(row) > 2}


def test_timings_add_up_to_the_process(maxwhisper: RunCommandLine, sound: MakeSound) -> None:
    files = sound("a.wav", 65), sound("b.wav")
    done = maxwhisper("transcribe", *files, "-q", "--timings", "-f", "txt")
    times = times_in(done.stderr)
    assert {"starting", "imports", "audio", "mel", "encoder", "text", "writing"} < times.keys()
    parts = sum(seconds for what, seconds in times.items() if what != "all")
    assert abs(parts - times["all"]) < 0.001 * len(times)  # each is rounded
    assert re.search(r"encoder .* 4 windows of", done.stderr)
    together = maxwhisper("transcribe", *files, "-q", "--timings", "--batch-size", "8")
    assert re.search(r"encoder .* 4 windows of", together.stderr)
    assert times["starting"] > 0
    assert "where the time went" not in maxwhisper("transcribe", *files, "-f", "txt").stderr


def test_timings_of_what_failed(maxwhisper: RunCommandLine, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("no sound")
    done = maxwhisper("transcribe", tmp_path / "a.wav", "--timings")
    assert done.exit_code == 1
    assert times_in(done.stderr).keys() >= {"audio", "all"}


def test_samples_are_fetched_by_name(maxwhisper: RunCommandLine, jfk: Path) -> None:
    fetched = maxwhisper("samples", "fetch", "jfk")
    assert (fetched.exit_code, fetched.stdout) == (0, f"jfk  {jfk}\n")
    unknown = maxwhisper("samples", "fetch", "jkf")
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert "did you mean 'jfk'" in unknown.stderr
