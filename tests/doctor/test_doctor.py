"""The report: its facts and checks, faults that it must find, secrets that it must not show."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from implementations import registry
from maxwhisper_cli.doctor import checks, examination, machine, places
from maxwhisper_cli.doctor.report import FAIL, PASS, SKIPPED, section, without_secrets
from tests.cli.conftest import RunCommandLine
from tests.support.fake_gpus import H200, RTX_4090, FakeGpus

SECTIONS = [
    *("program", "machine", "gpu", "implementations", "weights", "compiled graphs", "folders"),
    *("extras", "settings", "microphone"),
]


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny graph costs seconds of MAX; one test compiles it."""
    monkeypatch.setattr(examination, "MAX_COMPILE_SECONDS", 0.0)


def reported(maxwhisper: RunCommandLine, code: int = 0) -> dict[str, Any]:
    done = maxwhisper("doctor", "--json")
    assert done.exit_code == code, done.output
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def outcome(report: dict[str, Any], name: str) -> dict[str, Any]:
    (check,) = [check for check in report["checks"] if check["name"] == name]
    return dict(check)


def facts(report: dict[str, Any], title: str) -> dict[str, str]:
    return {fact["name"]: fact["value"] for fact in report[title]}


def test_all_sections_are_there_and_all_checks_pass(maxwhisper: RunCommandLine) -> None:
    report = reported(maxwhisper)
    assert list(report) == ["can_run", *SECTIONS, "checks"]
    assert all(report[title] for title in SECTIONS)
    assert list(facts(report, "implementations")) == list(registry.names())
    failed = [c for c in report["checks"] if c["outcome"] == FAIL and c["name"] != "find a model"]
    assert failed == []
    assert outcome(report, "compile a tiny graph")["outcome"] == SKIPPED


PROGRAM = """
import sys
from maxwhisper_cli.__main__ import main
from maxwhisper_cli.doctor import examination
examination.MAX_COMPILE_SECONDS = 0.0
sys.argv = ["maxwhisper", "doctor"]
try: main()
finally: print("modules:", *sys.modules, file=sys.stderr)
"""


def test_no_framework_is_imported() -> None:
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert set(done.stderr.partition("modules:")[2].split()) & {"torch", "max", "whisper"} == set()
    assert "\nchecks\n" in done.stdout


def test_the_exit_code_is_1_if_nothing_can_run(
    maxwhisper: RunCommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "unavailable_because", lambda _name: "not installed here")
    report = reported(maxwhisper, code=1)
    assert report["can_run"] is False
    check = outcome(report, "run an implementation")
    assert check["outcome"] == FAIL
    assert "pip install" in check["detail"]


def test_a_cache_that_cannot_be_written_fails_with_the_remedy(
    maxwhisper: RunCommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MAXWHISPER_CACHE", str(tmp_path / "file" / "cache"))
    check = outcome(reported(maxwhisper), "write the cache folder")
    assert check["outcome"] == FAIL
    assert "Not a directory" in check["detail"]
    assert "MAXWHISPER_CACHE" in check["detail"]


def test_an_audio_library_that_is_broken_fails(
    maxwhisper: RunCommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    report = reported(maxwhisper, code=1)
    assert outcome(report, "decode a second of audio")["outcome"] == FAIL


def test_a_wrong_configuration_is_reported_and_does_not_stop_it(maxwhisper: RunCommandLine) -> None:
    Path("maxwhisper.toml").write_text("beem-size = 1\n", encoding="utf-8")
    report = reported(maxwhisper)
    check = outcome(report, "read the configuration")
    assert check["outcome"] == FAIL
    assert "did you mean beam-size?" in check["detail"]


def test_settings_are_listed_with_their_sources(
    maxwhisper: RunCommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("maxwhisper.toml").write_text("seed = 7\n", encoding="utf-8")
    monkeypatch.setenv("MAXWHISPER_THREADS", "2")
    monkeypatch.setenv("MAXWHISPER_THREDS", "3")
    found = facts(reported(maxwhisper), "settings")
    assert found["seed"].startswith("7, from ")
    assert found["threads"].startswith("2, from MAXWHISPER_THREADS (transcribe, ")
    assert found["unknown variable"] == "MAXWHISPER_THREDS: nothing reads it"


def test_secrets_are_not_shown(maxwhisper: RunCommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_verysecret")
    monkeypatch.setenv("HTTPS_PROXY", "http://anna:verysecret@proxy.example:3128")
    for arguments in ((), ("--json",)):
        shown = maxwhisper("doctor", *arguments).stdout
        assert "HF_TOKEN" in shown
        assert "proxy.example" in shown
        assert "verysecret" not in shown
        assert "anna" not in shown


def test_the_home_is_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    assert without_secrets("in /home/anna/x, /home/anna and /home/annabel") == (
        "in ~/x, ~ and /home/annabel"
    )


def test_a_section_that_fails_says_so() -> None:
    def fail() -> list[Any]:
        raise RuntimeError("broken driver")

    (fact,) = section("gpu", fail).facts
    assert fact.value == "RuntimeError: broken driver"


def test_a_missing_extra_comes_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ['absent-package<2,>=1; extra == "listen"', 'numpy>=2; extra == "here"', "rich"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda _name: lines)
    found = {fact.name: fact.value for fact in places.extra_facts()}
    assert found["listen"] == "missing absent-package: pip install 'maxwhisper[listen]'"
    assert found["here"].startswith("numpy ")


@pytest.mark.parametrize(("code", "expected"), [("pass", PASS), ("raise ValueError('x')", FAIL)])
def test_the_compiler_passes_or_fails_with_its_last_line(
    monkeypatch: pytest.MonkeyPatch, code: str, expected: str
) -> None:
    command = [sys.executable, "-c", code]
    monkeypatch.setattr(checks, "module_command", lambda *_arguments: command)
    monkeypatch.setattr(registry, "unavailable_because", lambda _name: None)
    compiler = checks.TinyCompile(max_seconds=None)
    check = compiler.check()
    compiler.close()
    assert check.outcome == expected
    assert expected == PASS or check.detail.startswith("ValueError: x; --impl cpu")


@pytest.mark.max
def test_the_tiny_graph_compiles() -> None:
    compiler = checks.TinyCompile(max_seconds=600)
    assert compiler.check().outcome == PASS
    compiler.close()


@pytest.mark.parametrize("columns", [30, 200])
def test_a_terminal_of_any_width_is_kept_to(columns: int) -> None:
    import pty

    parent, child = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=child, stderr=subprocess.DEVNULL, env=environment
    )
    os.close(child)
    chunks = []
    try:
        while chunk := os.read(parent, 65536):
            chunks.append(chunk)
    except OSError:  # the end of a terminal
        pass
    assert process.wait() == 0
    os.close(parent)
    text = re.sub(r"\x1b\[[0-9;]*m", "", b"".join(chunks).decode())
    lines = [line.rstrip() for line in text.split("\r\n")]
    assert "checks" in lines
    assert max(map(len, lines)) <= columns


def test_each_gpu_comes_with_what_runs_there(fake_gpus: FakeGpus) -> None:
    fake_gpus.plug_in(H200, RTX_4090)
    fake_gpus.hide(0)
    facts = {fact.name: fact.value for fact in machine.gpu_facts()}
    assert facts == {
        "driver": "580.65.06",
        "cuda:0": "NVIDIA H200, sm_90a, 24.0 GiB, 12.0 free; tested",
        "not used": "NVIDIA GeForce RTX 4090, sm_89, 24.0 GiB, 12.0 free; CUDA does not list it;"
        " see nvidia-smi",
    }
