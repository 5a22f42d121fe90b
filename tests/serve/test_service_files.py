"""The examples for systemd and containers: their files exist, and the command has their options."""

import json
import re
import shlex
from pathlib import Path

from typer.testing import CliRunner

import maxwhisper_cli
from maxwhisper_cli.app import make_app

ROOT = Path(maxwhisper_cli.__file__).parents[1]
FOLDER = ROOT / "maxwhisper_cli" / "serve"


def instructions(name: str) -> list[str]:
    """Arguments of an instruction of the Containerfile, a string for each time it stands there."""
    text = (FOLDER / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    return re.findall(rf"^(?:HEALTHCHECK.* )?{name} (.*)$", text, re.MULTILINE)


def options_of(words: list[str]) -> set[str]:
    return {word for word in words if word.startswith("--")}


def test_the_command_has_the_options_of_both() -> None:
    unit = (FOLDER / "maxwhisper.service").read_text(encoding="utf-8")
    (start,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    (entry,) = instructions("ENTRYPOINT")
    _check, command = instructions("CMD")
    words = [*shlex.split(start), *json.loads(entry), *json.loads(command)]
    assert words.count("serve") == 2
    shown = CliRunner().invoke(make_app(), ["serve", "--help"]).stdout
    assert options_of(words) == {"--model", "--offline", "--host"}
    assert all(option in shown for option in options_of(words))


def test_the_image_has_all_files_and_no_root() -> None:
    copied = [
        source
        for line in instructions("COPY")
        if not line.startswith("--from")
        for source in line.split()[:-1]
    ]
    assert {"weights", "implementations", "maxwhisper_cli", "constraints.txt"} <= set(copied)
    assert all((ROOT / source).exists() for source in copied)
    assert instructions("USER") == ["10001"]
    check, _command = instructions("CMD")
    compile(json.loads(check)[-1], "the health check", "exec")
