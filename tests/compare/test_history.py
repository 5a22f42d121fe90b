"""Comparisons kept and shown again: what belongs together, what changed, what is unreadable."""

import dataclasses
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from maxwhisper_cli.app import make_app
from maxwhisper_cli.compare.history import (
    history_folder,
    save_comparison,
    saved_comparisons,
    series_of,
)
from maxwhisper_cli.compare.results import Comparison, ComparisonError, Recording
from tests.compare.outcomes import compared, done, measured


def at(comparison: Comparison, day: int) -> Comparison:
    return dataclasses.replace(comparison, created=f"2026-03-{day:02d}T10:00:00+00:00")


def history(folder: Path, *options: str) -> Result:
    arguments = ["history", "--history-dir", str(folder), *options]
    return CliRunner().invoke(make_app(), arguments, catch_exceptions=False)


def faster(talk: str, seconds: float, text: str = "Ask not") -> Comparison:
    return compared(
        done("cpu", measured(talk, text, run_seconds=(seconds,))),
        recordings=(Recording(talk, "Ask not"),),
    )


def test_saved_comparisons_are_read_in_order(comparison: Comparison, tmp_path: Path) -> None:
    later, earlier = at(comparison, 20), at(comparison, 3)
    paths = [save_comparison(each, tmp_path / "new") for each in (later, earlier)]
    assert paths[0].name.startswith("2026-03-20T100000-")
    assert saved_comparisons(tmp_path / "new") == ([earlier, later], [])


def test_comparisons_of_one_second_are_both_saved(talk: str, tmp_path: Path) -> None:
    paths = {save_comparison(faster(talk, seconds), tmp_path) for seconds in (1.0, 2.0)}
    assert len(paths) == 2


def test_unreadable_file_is_a_warning(comparison: Comparison, tmp_path: Path) -> None:
    save_comparison(comparison, tmp_path)
    (tmp_path / "a.json").write_text("{}")
    kept, problems = saved_comparisons(tmp_path)
    assert kept == [comparison]
    assert len(problems) == 1
    assert "a.json is no comparison" in problems[0]
    assert "a.json is no comparison" in history(tmp_path).stderr


def test_only_the_same_work_is_one_series(comparison: Comparison) -> None:
    work, machine = comparison.work, comparison.machine
    other_place = dataclasses.replace(comparison, work=dataclasses.replace(work, device="cuda"))
    other_model = dataclasses.replace(comparison, work=dataclasses.replace(work, model="base"))
    other_cpu = dataclasses.replace(comparison, machine=dataclasses.replace(machine, cpu="Other"))
    more_runs = dataclasses.replace(comparison, work=dataclasses.replace(work, n_runs=9))
    series = series_of([comparison, other_place, other_model, more_runs, other_cpu])
    assert [s.comparisons for s in series] == [
        (other_place,),
        (other_model,),
        (comparison, more_runs),
        (other_cpu,),
    ]


def test_table_shows_changes(talk: str, tmp_path: Path) -> None:
    for day, seconds, text in ((1, 2.0, "Ask not"), (2, 1.0, "Ask knot"), (3, 1.5, "Ask not")):
        save_comparison(at(faster(talk, seconds, text), day), tmp_path)
    lines = history(tmp_path).stdout.splitlines()
    cells = [line.split() for line in lines if line.startswith("  ") and "cpu" in line][:3]
    assert [row[4:] for row in cells] == [
        ["2.00", "0.00"],
        ["1.00", "-50.0%", "50.00", "+50.00"],
        ["1.50", "+50.0%", "0.00", "-50.00"],
    ]
    assert all(len(line) <= 80 for line in lines)
    assert "tiny.en, greedy: talk.wav; Some Processor" in lines[0]


def test_two_points_make_a_plot_and_one_does_not(talk: str, tmp_path: Path) -> None:
    save_comparison(at(faster(talk, 2.0), 1), tmp_path)
    assert "by run" not in history(tmp_path).stdout
    save_comparison(at(faster(talk, 1.0), 2), tmp_path)
    shown = history(tmp_path).stdout
    assert "warm s by run" in shown
    assert "WER % by run" in shown
    assert "by run" not in history(tmp_path, "--last", "1").stdout


def test_failures_are_shown_and_unavailable_ones_are_not(
    comparison: Comparison, tmp_path: Path
) -> None:
    save_comparison(comparison, tmp_path)
    shown = history(tmp_path).stdout
    assert "failed" in shown
    assert "cuda" not in shown


def test_empty_history_is_a_note(tmp_path: Path) -> None:
    result = history(tmp_path / "none")
    assert result.exit_code == 0
    assert "compare --save" in result.stderr


def test_unwritable_folder_is_an_error(comparison: Comparison, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ComparisonError, match="cannot be kept in"):
        save_comparison(comparison, tmp_path / "file" / "folder")


def test_the_users_data_folder_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert history_folder() == Path("/data/maxwhisper/comparisons")
    assert history_folder(Path("here")) == Path("here")
