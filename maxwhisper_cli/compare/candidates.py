"""What takes part in a comparison: implementations, each with the dtype and device it is given."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from implementations import registry
from maxwhisper_cli.transcription.options import OptionsError


@dataclass(frozen=True, slots=True)
class Candidate:
    """An implementation, and what is to be other than by its own default."""

    implementation: str
    dtype: str | None = None
    device: str | None = None

    @property
    def label(self) -> str:
        """What reports call it: `full-max`, or `full-max:int8` where a dtype was asked for."""
        return ":".join(filter(None, (self.implementation, self.dtype)))


def parse_candidates(text: str) -> list[Candidate]:
    """Returns the candidates of `--impl cpu,full-max,full-max:int8`, each once.

    Raises:
        OptionsError: there is none, or one that does not exist.
    """
    parts = (part.strip().partition(":") for part in text.split(",") if part.strip())
    found = list(dict.fromkeys(Candidate(name, dtype or None) for name, _, dtype in parts))
    for candidate in found:
        if candidate.implementation not in registry.names():
            raise OptionsError(
                f"--impl: {candidate.implementation!r} is none of {', '.join(registry.names())}"
            )
    if not found:
        raise OptionsError(f"--impl takes some of {', '.join(registry.names())}")
    return found


def with_dtypes(candidates: Iterable[Candidate], text: str | None) -> list[Candidate]:
    """Gives `--dtype float16` to all but the reference, or `cuda=float16` to those it names.

    A dtype that a candidate already has stays.

    Raises:
        OptionsError: it names none of the candidates, or no dtype.
    """
    known = list(candidates)
    if text is None:
        return known
    names = [candidate.implementation for candidate in known]
    dtypes = {name: text for name in names if name != registry.REFERENCE}
    if "=" in text:
        dtypes = {}
        for part in text.split(","):
            name, _, dtype = (piece.strip() for piece in part.partition("="))
            if name not in names or not dtype:
                raise OptionsError(
                    f"--dtype: {part!r} is not like cuda=float16, with one of {', '.join(names)}"
                )
            dtypes[name] = dtype
    given = (replace(c, dtype=c.dtype or dtypes.get(c.implementation)) for c in known)
    return list(dict.fromkeys(given))


def on_device(candidates: Iterable[Candidate], device: str | None) -> list[Candidate]:
    """Puts those on a device that run on its kind; the others stay where they always run."""
    if device is None:
        return list(candidates)
    kind = registry.device_kind(device)
    return [
        replace(c, device=device) if kind in registry.entry(c.implementation).device_kinds else c
        for c in candidates
    ]
