"""The words of the house: docstrings that stand alone, and names that the field knows."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("maxwhisper_cli", "implementations", "weights")
SUBORDINATE_WORDS = {"What", "How", "Whether", "Of", "Where", "As", "That"}
MOJO_STRING = re.compile(r'"""(.*?)"""', re.DOTALL)
MOJO_COMMENT = re.compile(r"#[^\n]*")
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

NOT_RENAMED_YET: tuple[str, ...] = ()
"""Beginnings of paths whose words are still to be changed; the list may only shrink."""

BANNED_NAMES = {
    "ENOUGH_BLOCKS", "FEW", "Kept", "LOWEST_MASS", "LoopRunner", "BeamRunner", "MOST", "Mass",
    "Member", "N_NOTES", "Product", "Recorded", "Rounds", "Runner", "SURELY", "Spoken", "Weighed",
    "early", "fading", "found_lists", "heat", "keeps", "meet", "multiply", "notes_of",
    "one_over", "origins", "products", "room", "settle", "stand_ins", "team", "turn",
    "told", "asked", "hear", "heard", "likeliest", "doubt", "mass", "patches", "arranged",
}  # fmt: skip
"""Identifiers that have another name in the field, compared as a whole."""

BANNED_WORDS = {
    "after attention", "an error that harms", "audio attention", "audio keys values",
    "cached attention", "doubt", "enough blocks", "gpu patches", "gpu product", "gpu turn",
    "few rows", "fetch box", "half linear", "has room", "hear", "heard", "keys values",
    "kept type", "let next start", "likeliest", "log totals", "most rows", "most runners",
    "most tokens", "not numbers", "note block", "one over", "power of two", "prompt room",
    "quick gelu", "quicken", "said", "settle", "show barriers", "step room", "stretch",
    "stretches", "told", "warm line", "whisper attend", "whisper stem",
}  # fmt: skip
"""Parts of identifiers and of file names, split at underscores and capitals."""


def sources(*folders: str) -> Iterator[tuple[str, Path]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            if path.suffix in {".py", ".mojo"} and not name.startswith(NOT_RENAMED_YET):
                yield name, path


def docstrings(path: Path) -> list[str]:
    """Returns the docstrings of modules, classes, functions and attributes."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".mojo":
        return MOJO_STRING.findall(text)
    return [
        statement.value.value
        for node in ast.walk(ast.parse(text))
        if isinstance(body := getattr(node, "body", None), list)
        for statement in body
        if isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    ]


def identifiers(path: Path) -> set[str]:
    """Returns every name in the code, and the file's own; comments and strings have none."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".mojo":
        code = MOJO_COMMENT.sub("", MOJO_STRING.sub("", text))
        return {path.stem, *re.findall(r"[A-Za-z_]\w*", code)}
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {path.stem, *(token.string for token in tokens if token.type == tokenize.NAME)}


def banned_in(identifier: str) -> str | None:
    """Returns what is banned in an identifier, if anything is."""
    if identifier in BANNED_NAMES:
        return identifier
    words = f" {' '.join(WORD.findall(identifier)).lower()} "
    return next((banned for banned in BANNED_WORDS if f" {banned} " in words), None)


def test_docstrings_stand_alone() -> None:
    dependent = [
        f"{name}: {text.strip().splitlines()[0]}"
        for name, path in sources(*PACKAGES)
        for text in docstrings(path)
        if text.split() and text.split()[0] in SUBORDINATE_WORDS
    ]
    assert dependent == []


def test_names_are_the_fields() -> None:
    found = [
        f"{name}: {identifier}"
        for name, path in sources(*PACKAGES, "tests")
        for identifier in sorted(identifiers(path))
        if banned_in(identifier) is not None
    ]
    assert found == []


@pytest.mark.parametrize(
    "identifier", ["HeardAudio", "test_told_twice", "few_rows", "_log_totals", "MOST", "quickGelu"]
)
def test_banned_names_are_recognised(identifier: str) -> None:
    assert banned_in(identifier) is not None


@pytest.mark.parametrize("identifier", ["max_tokens", "hearing", "untold", "mostly_rows", "tokens"])
def test_other_names_are_allowed(identifier: str) -> None:
    assert banned_in(identifier) is None
