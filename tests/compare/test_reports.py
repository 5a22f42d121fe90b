"""Content of tables, Markdown and JSON of a comparison."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from maxwhisper_cli.compare.columns import COLUMNS
from maxwhisper_cli.compare.results import (
    Comparison,
    ComparisonError,
    Recording,
    read_comparison,
    write_comparison,
)
from maxwhisper_cli.compare.shown import collect_warnings
from maxwhisper_cli.compare.table import markdown_table, recording_lines, summary_lines
from maxwhisper_cli.compare.transcripts import marked_lines, side_by_side, versions_of
from tests.compare.outcomes import MISHEARD, compared, done, measured


def lines_of(comparison: Comparison, width: int | None) -> list[str]:
    return [line.plain for line in summary_lines(comparison, width)]


def test_figures(comparison: Comparison) -> None:
    cpu, full_max = (row.total for row in comparison.finished)
    assert cpu is not None
    assert full_max is not None
    assert (cpu.warm_seconds, cpu.fastest_seconds, cpu.slowest_seconds) == (2.0, 1.0, 4.0)
    assert cpu.realtime_factor == 4.0
    assert cpu.speedup == 1.0
    assert cpu.is_like_cpu
    assert full_max.speedup == 2.5
    assert full_max.realtime_factor == 10.0
    assert full_max.is_like_cpu is False
    assert cpu.wer is not None
    assert cpu.wer.n_errors == 0
    assert full_max.wer is not None
    assert (full_max.wer.n_errors, full_max.wer.n_reference) == (1, 14)
    assert full_max.wer_against_cpu is not None
    assert full_max.wer_against_cpu.n_errors == 1


def test_no_failure_has_a_figure(comparison: Comparison) -> None:
    for row in comparison.rows:
        if row.status != "ok":
            assert row.total is None
            assert row.load_seconds is None
            assert row.recordings == ()


def test_runs_over_recordings_are_added_run_by_run(talk: str) -> None:
    other = str(Path(talk).with_name("other.wav"))
    both = (measured(talk), measured(other, run_seconds=(1.0, 5.0, 1.0)))
    total = (
        compared(done("cpu", *both), recordings=(Recording(talk, None), Recording(other, None)))
        .rows[0]
        .total
    )
    assert total is not None
    assert (total.warm_seconds, total.fastest_seconds, total.slowest_seconds) == (5.0, 3.0, 6.0)
    assert total.audio_seconds == 16.0
    assert total.wer is None


def test_without_cpu_there_is_nothing_to_be_faster_than(talk: str) -> None:
    alone = compared(done("full-max", measured(talk)), recordings=(Recording(talk, None),))
    total = alone.rows[0].total
    assert total is not None
    assert (total.speedup, total.is_like_cpu, total.wer_against_cpu) == (None, None, None)
    assert "x cpu" not in lines_of(alone, None)[0]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_fits(comparison: Comparison, width: int) -> None:
    lines = lines_of(comparison, width)
    assert all(len(line) <= width for line in lines)
    assert "warm s" in lines[0]
    assert "2.00 (1.00-4.00)" in lines[1]


def test_a_single_run_has_no_range(talk: str) -> None:
    row = done("cpu", measured(talk, run_seconds=(2.0,)))
    lines = lines_of(compared(row, recordings=(Recording(talk, None),)), None)
    assert "  2.00  " in lines[1]


def test_a_wider_table_has_more_columns(comparison: Comparison) -> None:
    narrow, wide = lines_of(comparison, 80)[0], lines_of(comparison, None)[0]
    assert "WER %" in narrow
    assert {"device", "dtype"} <= set(narrow.split())
    assert "load s" not in narrow
    # Nothing was compiled and no GPU took part: those columns have nothing to say.
    assert [c.title for c in COLUMNS if c.title not in wide] == ["compile s", "GPU MiB"]


def test_compiled_graphs_from_the_cache_are_marked(talk: str) -> None:
    rows = compared(
        done("cpu", measured(talk)),
        done("hybrid", measured(talk), compiled=0.0),
        done("full-max", measured(talk), compiled=61.5),
        recordings=(Recording(talk, None),),
    )
    place = next(i for i, column in enumerate(COLUMNS) if column.title == "compile s")
    cells = [COLUMNS[place].cell(row, row.total) for row in rows.rows if row.total]
    assert cells == ["", "cached", "61.5"]


def test_unavailable_implementation_is_a_row_with_a_reason(comparison: Comparison) -> None:
    styled = summary_lines(comparison, 80)
    words = {line.plain.split()[0]: line for line in styled}
    assert "unavailable: no NVIDIA driver on this machine" in words["cuda"].plain
    assert "failed: its process was ended by SIGKILL" in words["hybrid"].plain
    assert "red" in str(words["hybrid"].style)


def test_one_recording_has_its_own_table(comparison: Comparison) -> None:
    lines = [line.plain for line in recording_lines(comparison, 0, 80)]
    assert [line.split()[0] for line in lines[1:]] == ["cpu", "full-max"]
    assert "MiB" not in lines[0]


def test_markdown(comparison: Comparison) -> None:
    head, rule, *body = markdown_table(comparison).splitlines()
    n_cells = head.count("|")
    assert re.fullmatch(r"\|( :?---:? \|)+", rule)
    assert all(line.count("|") == n_cells for line in (rule, *body))
    assert "| cuda | unavailable: no NVIDIA driver on this machine |" in body[1]


def test_words_that_differ_are_marked(comparison: Comparison) -> None:
    reference, cpu, full_max = versions_of(comparison, 0)
    assert [v.names for v in (reference, cpu, full_max)] == [
        ("reference",),
        ("cpu",),
        ("full-max",),
    ]
    assert "[-" not in marked_lines(cpu, "en")
    assert "your [-country-] {+county+} can" in marked_lines(full_max, "en")


def test_equal_texts_share_a_column(talk: str) -> None:
    both = compared(
        done("cpu", measured(talk)),
        done("hybrid", measured(talk)),
        recordings=(Recording(talk, None),),
    )
    (version,) = versions_of(both, 0)
    assert version.names == ("cpu", "hybrid")


@pytest.mark.parametrize("width", [40, 100])
def test_transcripts_fit_the_terminal(comparison: Comparison, width: int) -> None:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    with console.file:
        console.print(side_by_side(versions_of(comparison, 0), "en", width))
    lines = console.export_text().splitlines()
    assert all(len(line) <= width for line in lines)
    is_side_by_side = any("reference" in line and "full-max" in line for line in lines)
    assert is_side_by_side == (width == 100)


def test_warnings(comparison: Comparison, talk: str) -> None:
    (warning,) = collect_warnings(comparison)
    assert "full-max differs from cpu in talk.wav at token 2 of 3: " in warning
    odd = dataclasses.replace(measured(talk), warnings=("talk.wav is cut off",))
    twice = compared(done("cpu", odd), done("hybrid", odd), recordings=(Recording(talk, None),))
    assert collect_warnings(twice) == ["talk.wav is cut off"]
    busy = dataclasses.replace(
        comparison, machine=dataclasses.replace(comparison.machine, load_average=3.0)
    )
    assert "times mean little" in collect_warnings(busy)[0]
    varying = compared(
        done("cpu", measured(talk, is_repeatable=False)), recordings=(Recording(talk, None),)
    )
    assert "did not give the same tokens in every run" in collect_warnings(varying)[0]


def test_json_holds_everything(comparison: Comparison, tmp_path: Path) -> None:
    path = tmp_path / "comparison.json"
    write_comparison(path, comparison)
    assert read_comparison(path) == comparison
    kept = json.loads(path.read_text())
    assert kept["schema_version"] == 1
    assert kept["machine"]["packages"]["torch"] == "2.13.0"
    assert kept["rows"][0]["recordings"][0]["measurement"]["run_seconds"] == [2.0, 1.0, 4.0]
    assert kept["rows"][3]["recordings"][0]["measurement"]["text"] == MISHEARD
    assert kept["rows"][1] | {"reason": "x"} == {
        **dict.fromkeys(kept["rows"][1]),
        "implementation": "cuda",
        "status": "unavailable",
        "reason": "x",
        "warnings": [],
        "recordings": [],
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no comparison"),
        ('{"schema_version": 99}', "has schema version 99; this program reads 1"),
        ('{"schema_version": 1}', "is no comparison"),
        ("[]", "is no comparison"),
        ("\udcff", "is no comparison"),
    ],
)
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "other.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ComparisonError, match=words):
        read_comparison(path)


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ComparisonError, match="cannot be read"):
        read_comparison(tmp_path / "none.json")
