"""One input of a run: a recording or an excerpt of it, with what a manifest says of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from weights.errors import MaxWhisperError

STDIN: Final = "-"
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(?=//)|(feed|ytdl):")
_MAX_NAME_BYTES: Final = 200
"""Longest name of an address's file: outputs are named after it, with an extension."""
_MAX_SUFFIX_BYTES: Final = 20
_NOTHING: Mapping[str, object] = MappingProxyType({})


class InputError(MaxWhisperError):
    """An input does not exist, cannot be listed or cannot be fetched."""


@dataclass(frozen=True, slots=True)
class Input:
    """A recording to transcribe, or an excerpt of it."""

    source: str
    """Path, address, or `-` for standard input."""
    folder: str = ""
    """Folder below the output folder, as it lies below the folder that was given."""
    stem: str | None = None
    """Name of outputs; None is that of the source."""
    start_seconds: float = 0.0
    duration_seconds: float | None = None
    """Length of the excerpt, as a manifest has it; None is the rest."""
    language: str | None = None
    """Language of this recording; None is that of the options."""
    fields: Mapping[str, object] = field(default_factory=lambda: _NOTHING)
    """All fields of the manifest, its own names included."""
    is_listed: bool = False
    """True if it was found in a folder, by a pattern or in a list, not named by itself."""
    problem: InputError | None = None
    """Reason why an argument or a line of a list stands for no recording; None if it does."""

    @property
    def is_excerpt(self) -> bool:
        """True if only a part of the recording is meant."""
        return self.start_seconds > 0 or (
            self.duration_seconds is not None and self.fields.get("offset") is not None
        )

    @property
    def scheme(self) -> str | None:
        """Scheme of an address, in lower case; None for a file."""
        return scheme_of(self.source)

    @property
    def path(self) -> Path:
        """Path of a file; for an address that of its last part."""
        if self.scheme is None:
            return Path("stdin" if self.source == STDIN else self.source)
        address = re.split(r"[?#]", self.source.partition(":")[2], maxsplit=1)[0]
        name = address.rstrip("/").rpartition("/")[2]
        name = re.sub(r"%[0-9A-Fa-f]{2}|[^\w.()+ -]", "_", name) or "recording"
        return _shortened(Path(name))


def _shortened(path: Path) -> Path:
    """Returns the name of an address's file with at most 200 bytes, its extension kept."""
    suffix = path.suffix.encode()[:_MAX_SUFFIX_BYTES]
    stem = path.stem.encode()[: _MAX_NAME_BYTES - len(suffix)]
    return Path(stem.decode(errors="ignore") + suffix.decode(errors="ignore"))


def scheme_of(source: str) -> str | None:
    """Returns the scheme of an address, in lower case; None for a path."""
    found = _SCHEME.match(source)
    return (found[1] or found[2]).lower() if found else None
