"""The examples at the end of each command's help: three of each, and each can be parsed."""

import shlex

import pytest
import typer

from maxwhisper_cli.app import make_app
from maxwhisper_cli.commands.examples import EXAMPLES
from tests.cli.conftest import RunCommandLine


def test_every_command_has_three() -> None:
    group = typer.main.get_command(make_app())
    assert set(EXAMPLES) == set(group.list_commands(typer.Context(group)))  # type: ignore[attr-defined]


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_each_is_a_command_line(line: str) -> None:
    words = shlex.split(line.partition(" > ")[0])
    arguments = words[words.index("maxwhisper") + 1 :]
    group = typer.main.get_command(make_app())
    context = group.make_context("maxwhisper", list(arguments))
    name, found, rest = group.resolve_command(context, context._protected_args + context.args)  # type: ignore[attr-defined]
    inner = found.make_context(name, rest, parent=context)
    left = inner._protected_args + inner.args
    if hasattr(found, "resolve_command") and left:
        name, found, rest = found.resolve_command(inner, left)
        found.make_context(name, rest, parent=inner)


@pytest.mark.parametrize("command", list(EXAMPLES))
def test_the_help_ends_with_them(maxwhisper: RunCommandLine, command: str) -> None:
    shown = maxwhisper(command, "--help").stdout
    lines = [f"    {line}" for line in EXAMPLES[command]]
    assert [line.rstrip() for line in shown.rstrip().splitlines()[-3:]] == lines
