"""Default model: turbo, or the best that is on this machine."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weights.errors import WeightsError

if TYPE_CHECKING:
    from weights.download import Progress

DEFAULT_MODEL = "turbo"
_SIZES = ("large-v3", "large-v3-turbo", "large-v2", "large-v1", "medium", "small", "base", "tiny")
"""Names of multilingual models, the best first."""


@dataclass(frozen=True, slots=True)
class DefaultModel:
    """Name of the model to load, and a line for the user if it is not the usual one."""

    name: str
    notes: tuple[str, ...] = ()


def choose_default(
    *,
    model_dir: Path | None = None,
    offline: bool = False,
    is_english: bool = False,
    progress: "Progress | None" = None,
    on_note: Callable[[str], None] | None = None,
) -> DefaultModel:
    """Returns turbo, fetched if it is not here, or else the best model that is here.

    Args:
        model_dir: Folder to look in and to download to, instead of the cache folder.
        offline: Never use the network.
        is_english: True if only English is spoken, for which English-only models do.
        progress: Called with bytes received and bytes in all while a file is fetched.
        on_note: Called with the note, if there is one.

    Raises:
        WeightsError: It cannot be fetched, and none is here.
    """
    from weights.resolve import names_here, resolve

    try:
        resolve(DEFAULT_MODEL, model_dir=model_dir, offline=offline, progress=progress)
    except WeightsError:
        for name in _best_first(names_here(model_dir), is_english=is_english):
            try:
                resolve(name, model_dir=model_dir, offline=True)
            except WeightsError:
                continue  # a file of that name that is another
            note = (
                f"no model was named, and {DEFAULT_MODEL} is neither here nor to be fetched: "
                f"using {name}, the best that is here"
            )
            if on_note is not None:
                on_note(note)
            return DefaultModel(name, (note,))
        raise
    return DefaultModel(DEFAULT_MODEL)


def _best_first(names: tuple[str, ...], *, is_english: bool) -> Iterator[str]:
    """Yields names by quality: by size for English, else English-only models after all others."""
    by_size = [(size, f"{size}.en") for size in _SIZES]
    if is_english:
        order = [name for size, english in by_size for name in (english, size)]
    else:
        order = [size for size, _ in by_size] + [english for _, english in by_size]
    return (name for name in order if name in names)
