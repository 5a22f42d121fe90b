"""Caption styles: the package's own by name, or a user's TOML file.

A file may give any of the limits, `[costs]` and `[languages.CODE]` with other limits for a
language; what it leaves out is that of the style named by `base`, or of netflix.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from maxwhisper_cli.captions import NO_STYLE, data
from maxwhisper_cli.captions.limits import CHECKS, Costs, Limits
from maxwhisper_cli.transcription.option_types import OptionsError

STYLE_NAMES = ("netflix", "bbc")
_DEFAULT_BASE = "netflix"
_LIMITS = tuple(each.name for each in fields(Limits))
_COSTS = tuple(each.name for each in fields(Costs))
_TABLES = ("costs", "languages")


@dataclass(frozen=True, slots=True)
class CaptionStyle:
    """Rules by which text is broken into cues."""

    name: str
    """Name, or path of its file."""
    limits: Limits = field(default_factory=Limits)
    costs: Costs = field(default_factory=Costs)
    languages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Limits that differ in a language, by its code."""

    def limits_for(self, language: str) -> Limits:
        """Returns the limits of a language."""
        return replace(self.limits, **self.languages.get(language, {}))


def load_style(name: str | Path) -> CaptionStyle | None:
    """Returns a style by name, or from a TOML file; None for `none`.

    Raises:
        OptionsError: There is no such style, or the file cannot be read or has unknown keys.
    """
    text = str(name)
    if text.lower() == NO_STYLE:
        return None
    if text.lower() in STYLE_NAMES:
        return _named_style(text.lower())
    path = Path(text)
    if path.suffix.lower() != ".toml":
        known = ", ".join([NO_STYLE, *STYLE_NAMES])
        near = _nearest(text.lower(), [NO_STYLE, *STYLE_NAMES])
        raise OptionsError(f"there is no caption style {text!r}{near}; choose {known} or FILE.toml")
    return _style_of(text, _read(path))


def _named_style(name: str) -> CaptionStyle:
    return _merged(CaptionStyle(name), name, data.read("styles", name) or {})


def _read(path: Path) -> dict[str, Any]:
    try:
        return data.parse(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise OptionsError(f"cannot read the caption style {path}: {error.strerror}") from error
    except ValueError as error:  # syntax of TOML, UTF-8, or a name that is no path
        raise OptionsError(f"the caption style {path} is no TOML: {error}") from error


def _style_of(name: str, table: dict[str, Any]) -> CaptionStyle:
    base = table.pop("base", _DEFAULT_BASE)
    if base not in STYLE_NAMES:
        known = " or ".join(STYLE_NAMES)
        raise OptionsError(f"{name}: base is {known}, not {base!r}{_nearest(base, STYLE_NAMES)}")
    return _merged(replace(_named_style(base), name=name), name, table)


def _merged(base: CaptionStyle, name: str, table: Mapping[str, Any]) -> CaptionStyle:
    """Returns a style with the values of a table."""
    _check_keys(table, (*_LIMITS, "base", *_TABLES), name)
    tables = {key: _table(table.get(key, {}), f"{name}: [{key}]") for key in _TABLES}
    own = {key: value for key, value in table.items() if key in _LIMITS}
    _check_keys(tables["costs"], _COSTS, f"{name}: [costs]")
    languages = {code: dict(given) for code, given in base.languages.items()}
    for code, given in tables["languages"].items():
        place = f"{name}: [languages.{code}]"
        _check_keys(_table(given, place), _LIMITS, place)
        languages.setdefault(code, {}).update(_checked(given, place))
    style = replace(
        base,
        limits=replace(base.limits, **_checked(own, name)),
        costs=replace(base.costs, **_checked(tables["costs"], f"{name}: [costs]")),
        languages=languages,
    )
    for limits in (style.limits, *map(style.limits_for, languages)):
        if limits.max_seconds < limits.min_seconds:
            raise OptionsError(
                f"{name}: max_seconds {limits.max_seconds:g} is below min_seconds "
                f"{limits.min_seconds:g}"
            )
    return style


def _checked(table: Mapping[str, Any], place: str) -> dict[str, Any]:
    try:
        return {key: CHECKS[key](key, value) for key, value in table.items()}
    except OptionsError as error:
        raise OptionsError(f"{place}: {error}") from error


def _check_keys(table: Mapping[str, Any], known: Iterable[str], place: str) -> None:
    names = tuple(known)
    for key in table:
        if key not in names:
            near = _nearest(key, names) or f"; known are {', '.join(names)}"
            raise OptionsError(f"{place}: there is no key {key!r}{near}")


def _table(value: object, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise OptionsError(f"{place} must be a table, not {value!r}")
    return value


def _nearest(name: object, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    found = get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""
