"""`maxwhisper compare` from options to exit code, on outcomes made up beforehand."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from implementations import registry
from maxwhisper_cli.app import make_app
from maxwhisper_cli.compare.messages import Advanced, Job, Loaded, Message, Stage
from maxwhisper_cli.compare.runner import Outcome
from tests.compare.outcomes import MISHEARD, REFERENCE, done, measured

Compare = Callable[..., Result]


class FakeRunner:
    """Stand-in for `run_job` that records jobs and returns a given outcome for each name."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.outcomes: dict[str, Outcome] = {}

    def run_job(self, job: Job, on_message: Callable[[Message], None]) -> Outcome:
        self.jobs.append(job)
        on_message(Stage("loading"))
        on_message(Loaded("cpu", "float32", 1.0, 0.0, False, False, 99))
        for file in job.files:
            on_message(Advanced(file, 1, 4.0, 8.0))
        made = done(job.candidate.label, *(measured(file) for file in job.files))
        return self.outcomes.get(job.candidate.label, made)


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> FakeRunner:
    fake = FakeRunner()
    monkeypatch.setattr("maxwhisper_cli.compare.run.run_job", fake.run_job)
    return fake


@pytest.fixture
def compare(runner: FakeRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Compare:
    assert runner.jobs == []
    monkeypatch.chdir(tmp_path)
    for variable in ("FORCE_COLOR", "MAXWHISPER_MODEL", "MAXWHISPER_HISTORY", "COLUMNS"):
        monkeypatch.delenv(variable, raising=False)

    def run(*arguments: str) -> Result:
        command = ["compare", *arguments]
        return CliRunner().invoke(
            make_app(), command, catch_exceptions=False, prog_name="maxwhisper"
        )

    return run


def test_every_implementation_gets_the_same_work(
    compare: Compare, runner: FakeRunner, talk: str
) -> None:
    result = compare(talk, "--model", "tiny.en", "--runs", "2", "--threads", "3")
    assert result.exit_code == 0
    assert tuple(job.candidate.label for job in runner.jobs) == registry.names()
    (first, *others) = runner.jobs
    assert (first.model, first.n_runs, first.n_threads) == ("tiny.en", 2, 3)
    assert first.options.beam_size is None
    assert first.options.temperatures[0] == 0.0
    assert all(
        (job.files, job.options, job.n_runs, job.n_threads, job.candidate.dtype)
        == (first.files, first.options, 2, 3, None)
        for job in others
    )


def test_options_reach_the_worker(compare: Compare, runner: FakeRunner, talk: str) -> None:
    compare(
        *(talk, "--model", "tiny.en", "--impl", "cpu,cuda", "--beam_size", "5"),
        *("--temperature", "0.4", "--language", "Spanish", "--dtype", "cuda=float16"),
    )
    assert [job.candidate.dtype for job in runner.jobs] == [None, "float16"]
    options = runner.jobs[0].options
    assert (options.beam_size, options.temperatures, options.language) == (5, (0.4,), "es")


def test_one_implementation_in_several_dtypes(
    compare: Compare, runner: FakeRunner, talk: str
) -> None:
    result = compare(
        *(talk, "--model", "tiny.en", "--impl", "cpu,full-max,full-max:int8,hybrid"),
        *("--dtype", "hybrid=bfloat16", "--json", "a.json"),
    )
    labels = ["cpu", "full-max", "full-max:int8", "hybrid:bfloat16"]
    assert [job.candidate.label for job in runner.jobs] == labels
    assert [job.candidate.dtype for job in runner.jobs] == [None, None, "int8", "bfloat16"]
    rows = json.loads(Path("a.json").read_text())["rows"]
    assert [row["implementation"] for row in rows] == labels
    assert {row["total"]["speedup"] for row in rows} == {1.0}  # all against cpu
    assert {"device", "dtype"} <= set(rows[2])
    assert all(line in result.stdout for line in labels)


def test_a_dtype_for_all_leaves_the_reference_alone(
    compare: Compare, runner: FakeRunner, talk: str
) -> None:
    compare(talk, "--model", "tiny.en", "--impl", "cpu,hybrid,full-max:int8", "--dtype", "float16")
    assert [job.candidate.dtype for job in runner.jobs] == [None, "float16", "int8"]


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_device_applies_to_implementations_that_support_it(
    compare: Compare, runner: FakeRunner, talk: str, device: str
) -> None:
    compare(talk, "--model", "tiny.en", "--device", device, "--json", "a.json")
    assert {job.candidate.implementation: job.candidate.device for job in runner.jobs} == {
        "cpu": None,
        "cuda": device,
        "hybrid": device,
        "full-max": device,
    }
    assert json.loads(Path("a.json").read_text())["work"]["device"] == device


@pytest.mark.parametrize(
    "given", [("--device", "tpu"), ("--device", "cuda:x"), ("--impl", "ful-max:int8")], ids=str
)
def test_nonsense_is_an_error(compare: Compare, talk: str, given: tuple[str, str]) -> None:
    result = compare(talk, "--model", "tiny.en", *given)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {given[0]}")


def test_without_files_it_takes_the_samples(
    compare: Compare, runner: FakeRunner, jfk: Path, sonnet: Path
) -> None:
    compare("--impl", "cpu", "--offline")
    assert runner.jobs[0].files == (str(jfk), str(sonnet))
    assert runner.jobs[0].model == "tiny.en"


def test_a_failure_ends_in_exit_code_1(compare: Compare, runner: FakeRunner, talk: str) -> None:
    runner.outcomes["cuda"] = Outcome("cuda", "failed", "out of memory")
    result = compare(talk, "--model", "tiny.en", "--impl", "cpu,cuda")
    assert result.exit_code == 1
    assert "failed: out of memory" in result.stdout
    assert "error: cuda failed" in result.stderr


def test_one_that_is_unavailable_is_no_failure(
    compare: Compare, runner: FakeRunner, talk: str
) -> None:
    runner.outcomes["cuda"] = Outcome("cuda", "unavailable", "no GPU")
    assert compare(talk, "--model", "tiny.en", "--impl", "cpu,cuda").exit_code == 0
    runner.outcomes["cpu"] = Outcome("cpu", "unavailable", "no torch")
    result = compare(talk, "--model", "tiny.en", "--impl", "cpu,cuda")
    assert result.exit_code == 1
    assert "none of these implementations can run here" in result.stderr


def test_reports_are_written(compare: Compare, talk: str, tmp_path: Path) -> None:
    result = compare(
        *(talk, "--model", "tiny.en", "--impl", "cpu", "--json", "a.json", "--markdown", "a.md"),
        *("--html", "new/a.html", "--save", "--history-dir", "kept"),
    )
    assert result.exit_code == 0
    assert json.loads((tmp_path / "a.json").read_text())["work"]["model"] == "tiny.en"
    assert (tmp_path / "a.md").read_text().startswith("| implementation |")
    assert (tmp_path / "new" / "a.html").read_text().startswith("<!doctype html>")
    assert len(list((tmp_path / "kept").iterdir())) == 1
    assert "wrote new/a.html" in result.stderr


def test_the_reference_is_beside_the_recording_or_given(
    compare: Compare, runner: FakeRunner, talk: str, tmp_path: Path
) -> None:
    arguments = (talk, "--model", "tiny.en", "--impl", "cpu", "--json", "a.json")

    def wer() -> dict[str, float] | None:
        rates: dict[str, float] | None
        rates = json.loads((tmp_path / "a.json").read_text())["rows"][0]["total"]["wer"]
        return rates

    compare(*arguments)
    assert wer() is None
    Path(talk).with_suffix(".txt").write_text(REFERENCE)
    compare(*arguments)
    assert wer() == {"rate": 0.0, "n_errors": 0, "n_reference": 14}
    (tmp_path / "other.txt").write_text(MISHEARD)
    assert "reference other.txt: " in compare(*arguments, "--reference", "other.txt").stdout
    assert wer() == {"rate": 1 / 14, "n_errors": 1, "n_reference": 14}
    assert len(runner.jobs) == 3


def test_a_pipe_gets_plain_text_of_80_columns(compare: Compare, talk: str) -> None:
    result = compare(talk, "--model", "tiny.en", "--impl", "cpu,cuda")
    assert "\x1b" not in result.stdout
    table = [line for line in result.stdout.splitlines() if line.startswith(("impl", "cpu", "cu"))]
    assert all(len(line) <= 80 for line in table[:3])
    assert "CER %" not in result.stdout
    wide = compare(talk, "--model", "tiny.en", "--impl", "cpu", "--wide").stdout
    assert "first s" in wide
    assert "cpu: talk.wav: 2.00, 1.00, 4.00 s" not in wide


@pytest.mark.parametrize(
    ("arguments", "words", "exit_code"),
    [
        (("--impl", "cpu,tpu"), "'tpu' is none of cpu, cuda", 2),
        (("--impl", ","), "--impl takes some of", 2),
        (("--dtype", "gpu=float16"), "is not like cuda=float16", 2),
        (("--language", "Klingon"), "lingon", 2),
        (("--reference", "a.txt", "--reference", "b.txt"), "2 references for 1 recordings", 1),
        (("--reference", "none.txt"), "none.txt cannot be read", 1),
        (("--model", "tinny.en", "--offline"), "did you mean tiny.en", 1),
        (("--json", "talk.wav/a.json"), "cannot make the output folder", 1),
        (("--html", "."), "is a folder", 1),
        (("--save", "--history-dir", "talk.wav"), "cannot make the output folder", 1),
        (("missing.wav",), "missing.wav", 1),
        (("-",), "give files, not -", 1),
    ],
)
def test_usage_errors_come_before_any_run(
    compare: Compare,
    runner: FakeRunner,
    talk: str,
    arguments: tuple[str, ...],
    words: str,
    exit_code: int,
) -> None:
    result = compare(talk, "--model", "tiny.en", *arguments)
    assert result.exit_code == exit_code
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert runner.jobs == []


def test_no_runs_is_a_usage_error(compare: Compare, talk: str) -> None:
    assert compare(talk, "--runs", "0").exit_code == 2
