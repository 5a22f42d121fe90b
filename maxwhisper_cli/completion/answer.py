"""Answers a shell that asks for completions; imports next to nothing, as each key press waits.

The shell gives its line so far in `COMP_LINE`, and its name in `_MAXWHISPER_COMPLETE`. The first
line of the answer says what files may follow: `words`, `files` or `folders`; the others are
candidates, for zsh and fish with a tab and a description.
"""

import os
import re
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VARIABLE = "_MAXWHISPER_COMPLETE"
WORDS, FILES, FOLDERS = "words", "files", "folders"
GPUS = os.path.join("/proc", "driver", "nvidia", "gpus")  # noqa: PTH118  (pathlib is slow to load)
Table = dict[str, "Any"]  # of the commands: see `table`
_BREAKS = ":="
"""Characters at which bash begins a new word."""
_PIECES = re.compile(
    r"""(\s+)|'([^']*)'?|"((?:\\.|[^"\\])*)(?:"|\\?$)|\\(.?)|([^\s'"\\]+)""", re.DOTALL
)
"""Parts of a line: space, text in single quotes, in double quotes, escaped, plain."""
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


def main() -> None:
    """Prints the candidates for the line in the environment."""
    shell = os.environ.get(VARIABLE, "")
    line = os.environ.get("COMP_LINE", "")
    from maxwhisper_cli.completion.kept_table import load_table

    words = split(line)
    kind, candidates = complete(load_table(), words[1:] or [""])
    if shell == "bash":
        cut = _bash_prefix(words[-1])
        lines = [f"{name[cut:]}" for name, _ in candidates]
    else:
        lines = [f"{name}\t{about}" for name, about in candidates]
    answer = "".join(f"{_printable(text)}\n" for text in (kind, *lines))
    try:
        os.write(1, answer.encode())
    except OSError:  # the shell has gone, or its disk is full
        sys.exit(1)


def split(line: str) -> list[str]:
    """Splits a line as a shell does, with an unfinished last word; that may be empty."""
    words: list[str] = []
    word: str | None = None
    for space, single, double, escaped, plain in _PIECES.findall(line):
        if space:
            words += [] if word is None else [word]
            word = None
        else:
            word = (word or "") + single + _ESCAPE.sub(r"\1", double) + escaped + plain
    return [*words, word or ""]


def complete(table: Table, words: list[str]) -> tuple[str, list[tuple[str, str]]]:
    """Returns what files may follow, and the candidates with their descriptions.

    Args:
        table: The commands.
        words: Words after the program's name; the last is the one to complete.
    """
    *before, current = words
    command, waiting, n_arguments = _walk(table, before)
    if "--" in before and waiting is None:
        return _arguments(command, n_arguments, current)
    if waiting is not None and not waiting["may_lack_value"]:
        return _values(waiting, current)
    if waiting is not None and not current.startswith("-"):  # True, False or an argument
        _, switches = _values(waiting, current)
        kind, candidates = _arguments(command, n_arguments, current)
        return kind, switches + candidates
    if current.startswith("-"):
        return _options(command, current)
    if command["commands"]:
        found = [(name, one["about"]) for name, one in command["commands"].items()]
        return WORDS, [(name, about) for name, about in found if name.startswith(current)]
    return _arguments(command, n_arguments, current)


def _arguments(command: Table, n_arguments: int, current: str) -> tuple[str, list[tuple[str, str]]]:
    arguments = command["arguments"]
    if not arguments:
        return WORDS, []
    return _values(arguments[min(n_arguments, len(arguments) - 1)], current)


def _walk(table: Table, words: list[str]) -> tuple[Table, Table | None, int]:
    """Returns the command that the words name, the option that waits for a value, and arguments."""
    command, waiting, n_arguments, is_after_dashes = table, None, 0, False
    for word in words:
        if waiting is not None and not (waiting["may_lack_value"] and word.startswith("-")):
            waiting = None
        elif word == "--":
            waiting, is_after_dashes = None, True
        elif word.startswith("-") and not is_after_dashes:
            option = None if "=" in word else command["options"].get(_normal(word))
            waiting = option if option is not None and option["takes_value"] else None
        elif word in command["commands"]:
            command, n_arguments = command["commands"][word], 0
        else:
            n_arguments += 1
    return command, waiting, n_arguments


def _normal(name: str) -> str:
    """Returns an option as it is listed: openai-whisper writes underscores."""
    return name.replace("_", "-")


def _options(command: Table, current: str) -> tuple[str, list[tuple[str, str]]]:
    """Returns the options that begin so, or the values of `--option=`."""
    name, equals, value = current.partition("=")
    if equals:
        option = command["options"].get(_normal(name))
        kind, candidates = (WORDS, []) if option is None else _values(option, value)
        return kind, [(f"{name}={word}", about) for word, about in candidates]
    has_underscores = "_" in current
    found = []
    for name, option in command["options"].items():
        spelled = f"--{name[2:].replace('-', '_')}" if has_underscores else name
        if spelled.startswith(current) and name.startswith("--"):
            found.append((spelled, option["about"]))
    return WORDS, found


def _values(option: Table, current: str) -> tuple[str, list[tuple[str, str]]]:
    """Returns the values of an option; of a list with commas, those of its last part."""
    before, comma, last = current.rpartition(",") if option["is_list"] else ("", "", current)
    words = [tuple(word) for word in option["values"]]
    if option["has_gpus"]:
        words += [(f"cuda:{index}", "") for index in range(_n_gpus())]
    used = before.split(",")
    matching = [
        (f"{before}{comma}{word}", about)
        for word, about in words
        if word.startswith(last) and word not in used
    ]
    return option["files"], matching


def _n_gpus() -> int:
    try:
        return len(os.listdir(GPUS))  # noqa: PTH208  (pathlib is slow to load)
    except OSError:
        return 0


def _bash_prefix(word: str) -> int:
    """Returns the length of what bash has already cut off a word."""
    return max(word.rfind(character) for character in _BREAKS) + 1


def _printable(text: str) -> str:
    return "".join(c for c in text if c.isprintable() or c == "\t")
