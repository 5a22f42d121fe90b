"""Command lines of random options and values: an error is a line and a code, never a traceback."""

import contextlib
import os
import random
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import soundfile
import typer
from typer.testing import CliRunner

from maxwhisper_cli.app import make_app
from maxwhisper_cli.configuration.settings import NOT_CONFIGURED
from tests.cli.conftest import FakeModels
from tests.fuzz.guided import Campaign, time_limit
from tests.support.sound import tone

_COMMANDS = (
    *("transcribe",) * 6,
    *("models", "models", "config", "config", "compile", "compile", "history", "history"),
    *("listen", "serve", "implementations"),
)
_VALUES = (
    *("0", "1", "-1", "5", "0.5", "1e308", "nan", "inf", "None", "True", "False", "auto", ""),
    *("en", "es-MX", "klingon", "x" * 3000, "世界", "\x1b[31m", "a,b", "1,2", "3.1,4.2", "{stem}"),
    *("cpu", "cuda", "cuda:99", "full-max", "float32", "int8", "txt", "srt,json", "all", "rttm"),
    *("talk.wav", "absent.wav", ".", "/", "/dev/null", "out", "-", "--", "split", "2", "netflix"),
    *("list.jsonl", "@list.txt", "feed:https://x", "s3://b/k", "https://[::1", "*.wav", "1/2"),
    *("9" * 40, "0x10", "1_0", "%s%n", "$(id)", "tiny.en", "owner/name", "maxwhisper.toml"),
)
_MAX_CODE = 2


def run_command_lines(
    folder: Path, *, seed: int, n_cases: int, max_seconds: float = float("inf")
) -> Campaign:
    """Runs so many command lines on a scripted model, or as many as the time allows."""
    campaign = Campaign()
    began = time.monotonic()
    with workplace(folder) as runner:
        options = _options()
        while campaign.n_cases < n_cases and time.monotonic() - began < max_seconds:
            generator = random.Random(f"command lines {seed} {campaign.n_cases}")
            arguments = _arguments(options, generator)
            try:
                with time_limit():
                    finding = _run(runner, arguments)
            except TimeoutError as error:
                finding = f"{arguments[0]}: {error}"
            campaign.n_cases += 1
            if finding is not None:
                campaign.findings.setdefault(
                    finding, " ".join(arguments).encode("utf-8", "replace")
                )
        allowed = {"here", "cache"}
        if left := {path.name for path in folder.iterdir()} - allowed:
            campaign.findings[f"files outside of the folder: {left}"] = b""
    campaign.seconds = time.monotonic() - began
    return campaign


@contextlib.contextmanager
def workplace(folder: Path) -> Iterator[CliRunner]:
    """A folder with a recording, a cache of its own, no network, and scripted models."""
    here = folder / "here"
    here.mkdir()
    soundfile.write(str(here / "talk.wav"), tone(440, 0.2, 16000), 16000)
    environment = {
        "MAXWHISPER_CACHE": str(folder / "cache"),
        "HOME": str(here),
        "MAXWHISPER_HISTORY": str(here / "history"),
        "HF_HUB_OFFLINE": "1",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "ALL_PROXY": "http://127.0.0.1:9",
        "CUDA_VISIBLE_DEVICES": "",
    }
    with (
        contextlib.chdir(here),
        mock.patch("maxwhisper_cli.model.load", FakeModels().load),
        mock.patch("maxwhisper_cli.serve.server.serve", return_value=None),
        mock.patch("maxwhisper_cli.cluster.actors.connect", _no_network),
        mock.patch("maxwhisper_cli.speech.network_file._fetch", _no_network),
        mock.patch("weights.download._RETRY_SECONDS", 0.0),
        mock.patch("implementations.full_max.FullMaxImplementation.compile", _no_compiler),
        mock.patch("implementations.hybrid.HybridImplementation.compile", _no_compiler),
        mock.patch.dict(os.environ, environment),  # last: MAX, once imported, has its folder there
    ):
        yield CliRunner()


def _no_network(*_arguments: object, **_settings: object) -> None:
    from weights.errors import ModelNotFoundError

    raise ModelNotFoundError("there is no network here")


def _no_compiler(*_arguments: object, **_settings: object) -> None:
    from implementations.errors import ImplementationFailedError

    raise ImplementationFailedError("there is no compiler here")


def _options() -> dict[str, list[str]]:
    group = typer.main.get_command(make_app())
    context = typer.Context(group, info_name="maxwhisper")
    found = {}
    for name in set(_COMMANDS):
        command = group.get_command(context, name)  # type: ignore[attr-defined]
        found[name] = [opt for parameter in command.params for opt in parameter.opts if "-" in opt]
    assert set(found) - NOT_CONFIGURED
    return found


def _arguments(options: dict[str, list[str]], generator: random.Random) -> list[str]:
    command = generator.choice(_COMMANDS)
    arguments = [command]
    if command == "transcribe":
        arguments += ["talk.wav", "--model", "tiny.en"][: generator.choice((1, 3, 3, 3))]
    for _ in range(generator.choice((0, 1, 1, 2, 2, 3, 5))):
        option = generator.choice(options[command])
        value = generator.choice(_VALUES)
        kind = generator.random()
        if kind < 0.7:
            arguments += [option, value]
        elif kind < 0.85:
            arguments += [f"{option}={value}"]
        else:
            arguments += [generator.choice((option, value))]
    return arguments


def _run(runner: CliRunner, arguments: list[str]) -> str | None:
    """Returns the finding, if it is one."""
    result = runner.invoke(make_app(), arguments, prog_name="maxwhisper")
    error = result.exception
    if error is not None and not isinstance(error, SystemExit):
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if "/maxwhisper_cli/" in f.filename] or frames
        at = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
        return f"{type(error).__name__} at {at}: {error}"[:200]
    if not 0 <= result.exit_code <= _MAX_CODE:
        return f"exit code {result.exit_code}"
    if "Traceback" in result.output:
        return "a traceback"
    if result.exit_code and not result.stderr.strip():
        return f"exit code {result.exit_code} without a word"
    return "a control character" if "\x1b" in result.output else None
