"""Numbers that are none: of every option of every command, in whatever length and spelling."""

import pytest
from typer.core import TyperCommand

from maxwhisper_cli.lazy_commands import COMMANDS, load_command
from tests.cli.conftest import RunCommandLine
from weights.whole_number import whole_number

_LONG = "9" * 5000
"""More digits than Python reads."""
_WITHOUT_OPTIONS = {"config", "completion", "samples", "cache"}


def options() -> list[tuple[str, str, bool]]:
    """Returns command, option, and True if it is a number, of all options with a value."""
    found = []
    for entry in COMMANDS:
        if entry.name in _WITHOUT_OPTIONS:
            continue
        command = load_command(entry.name)
        assert isinstance(command, TyperCommand)
        for parameter in command.params:
            if parameter.param_type_name == "option" and not getattr(parameter, "is_flag", False):
                name = max(parameter.opts, key=len)
                found.append((entry.name, name, "float" in type(parameter.type).__name__.lower()))
    return found


_OPTIONS = options()


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400"])
def test_infinite_numbers_are_refused(maxwhisper: RunCommandLine, value: str) -> None:
    numbers = [(command, name) for command, name, is_number in _OPTIONS if is_number]
    assert len(numbers) >= 10
    for command, name in numbers:
        result = maxwhisper(command, f"{name}={value}")
        assert result.exit_code == 2, (command, name)
        assert name in result.stderr, (command, name)


_PARSED = [
    "--channel",
    "--audio-track",
    "--batch-size",
    "--device",
    "--seed",
    "--clip-timestamps",
    "--suppress-tokens",
    "--alignment-heads",
    "--threads",
    "--raw-rate",
    "--newest",
    "--max-download-mb",
    "--max-line-width",
]
"""Options of `transcribe` that are read as numbers, by whatever means."""


@pytest.mark.parametrize(
    "names", [_PARSED, pytest.param(None, marks=pytest.mark.full)], ids=["parsed", "all"]
)
def test_options_take_or_refuse_thousands_of_digits(
    maxwhisper: RunCommandLine, names: list[str] | None
) -> None:
    """All options of all commands take 12 s; the servers would run."""
    chosen = [("transcribe", name) for name in names or ()]
    chosen += [(c, n) for c, n, _ in _OPTIONS if names is None and c not in {"serve", "listen"}]
    assert len(chosen) >= len(_PARSED)
    for command, name in chosen:
        result = maxwhisper(command, "none.wav", f"{name}={_LONG}")
        assert result.exit_code in {0, 1, 2}, (command, name)
        assert "error: " in result.stderr.lower(), (command, name)


@pytest.mark.parametrize("option", ["--batch-size", "--device", "--port"])
def test_the_server_refuses_thousands_of_digits(maxwhisper: RunCommandLine, option: str) -> None:
    result = maxwhisper("serve", "--model", "tiny.en", option, _LONG)
    assert result.exit_code == 2
    assert option in result.stderr


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("007", 7), ("9" * 18, 10**18 - 1), ("9" * 19, None), (_LONG, None)]
    + [(text, None) for text in ("", "-1", "+1", " 1", "1.0", "²", "٣", "1_0", "1e3")],
)
def test_whole_numbers(text: str, number: int | None) -> None:
    assert whole_number(text) == number
