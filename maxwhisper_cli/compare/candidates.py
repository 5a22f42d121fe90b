"""Candidates of a comparison: implementations with dtype and device."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from implementations import registry
from maxwhisper_cli.transcription.options import OptionsError


@dataclass(frozen=True, slots=True)
class Candidate:
    """An implementation, with the dtype and device that differ from its defaults."""

    implementation: str
    dtype: str | None = None
    device: str | None = None

    @property
    def label(self) -> str:
        """Name in reports: `full-max`, or `full-max:int8` with a dtype."""
        return ":".join(filter(None, (self.implementation, self.dtype)))


def parse_candidates(text: str) -> list[Candidate]:
    """Returns the candidates of `--impl cpu,full-max,full-max:int8`, each once.

    Raises:
        OptionsError: The list is empty, or has an unknown implementation.
    """
    parts = (part.strip().partition(":") for part in text.split(",") if part.strip())
    candidates = list(dict.fromkeys(Candidate(name, dtype or None) for name, _, dtype in parts))
    for candidate in candidates:
        if candidate.implementation not in registry.names():
            raise OptionsError(
                f"--impl: {candidate.implementation!r} is none of {', '.join(registry.names())}"
            )
    if not candidates:
        raise OptionsError(f"--impl takes some of {', '.join(registry.names())}")
    return candidates


def with_dtypes(candidates: Iterable[Candidate], text: str | None) -> list[Candidate]:
    """Sets the dtype of all but the reference (`float16`), or of some (`cuda=float16`).

    A dtype that a candidate already has stays.

    Raises:
        OptionsError: The text names no candidate, or no dtype.
    """
    originals = list(candidates)
    if text is None:
        return originals
    names = [candidate.implementation for candidate in originals]
    dtypes = {name: text for name in names if name != registry.REFERENCE}
    if "=" in text:
        dtypes = {}
        for part in text.split(","):
            name, _, dtype = (side.strip() for side in part.partition("="))
            if name not in names or not dtype:
                raise OptionsError(
                    f"--dtype: {part!r} is not like cuda=float16, with one of {', '.join(names)}"
                )
            dtypes[name] = dtype
    changed = (replace(c, dtype=c.dtype or dtypes.get(c.implementation)) for c in originals)
    return list(dict.fromkeys(changed))


def on_device(candidates: Iterable[Candidate], device: str | None) -> list[Candidate]:
    """Sets the device of the candidates that support its kind; the others keep theirs."""
    if device is None:
        return list(candidates)
    kind = registry.device_kind(device)
    return [
        replace(c, device=device) if kind in registry.entry(c.implementation).device_kinds else c
        for c in candidates
    ]
