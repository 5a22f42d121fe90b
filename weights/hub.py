"""Models of a hub of Hugging Face's kind: `owner/name`, `owner/name@revision`, `owner/name/file`.

What is here already is used without asking the hub. Only weights and the descriptions beside them
are fetched, nothing that runs; safetensors come first. Files go to the cache of huggingface_hub,
which other programs share; a file that was sent whole has the sha256 that the hub announced.

`HF_TOKEN`, `HF_ENDPOINT`, `HF_HOME` and `HF_HUB_OFFLINE` hold as everywhere.
"""

import io
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weights.cache import expanded, sha256_of
from weights.download import Progress
from weights.errors import ModelNotFoundError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Callable

INSTALL = "pip install 'maxwhisper[hub]'"
_ID = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:/(?P<file>[\w.-]+(?:/[\w.-]+)*))?"
    r"(?:@(?P<revision>[\w./-]{1,200}))?"
)
_WEIGHTS = (
    *("model.safetensors", "model.safetensors.index.json", "model.bin"),
    *("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
"""Weights that a folder may hold, the preferred first."""
_DESCRIPTIONS = (
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"),
    *("added_tokens.json", "vocab.json", "vocabulary.json"),
)
_WEIGHTS_SUFFIXES = frozenset({".pt", ".bin", ".safetensors", ".json", ".gguf"})
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class HubModel:
    """Name of a model on a hub."""

    repo: str
    revision: str | None = None
    """Branch, tag or commit; None for the main branch."""
    file: str | None = None
    """The one file to read; None for the whole model."""

    def __str__(self) -> str:
        file = f"/{self.file}" if self.file else ""
        return f"{self.repo}{file}{f'@{self.revision}' if self.revision else ''}"


def hub_model(name: str) -> HubModel | None:
    """Returns the model that a name stands for; None if it is not of the hub's kind.

    What begins with a folder that is here, or is named as a file of weights, is a path.
    """
    found = _ID.fullmatch(name)
    if found is None or ".." in name or Path(name.partition("/")[0]).exists():
        return None
    if found["file"] is None and Path(name).suffix in _WEIGHTS_SUFFIXES:
        return None
    return HubModel(found["repo"], found["revision"], found["file"])


def hub_path(
    model: HubModel,
    *,
    model_dir: Path | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Returns the file or folder of a hub's model, and fetches it if it is not here.

    Args:
        model: Its name.
        model_dir: Folder to look in and to download to, instead of huggingface_hub's cache.
        offline: Never use the network.
        progress: Called with bytes received and bytes in all while a file is fetched.

    Raises:
        ModelNotFoundError: It is not here and cannot be fetched.
        WeightsError: What was fetched is not what the hub announced, or cannot be written.
    """
    try:
        import huggingface_hub.constants
        import huggingface_hub.errors
        import huggingface_hub.file_download
    except ImportError as error:
        raise ModelNotFoundError(
            f"{model}: neither an existing path nor a known name; models of a hub need {INSTALL}"
        ) from error
    hub = _Hub(huggingface_hub, model, model_dir, progress)
    here = hub.found_here()
    if here is not None:
        return here
    if offline or huggingface_hub.constants.HF_HUB_OFFLINE:
        raise ModelNotFoundError(
            f"{model}: not here, and the network may not be used (--offline, HF_HUB_OFFLINE)"
        )
    with hub.translated_errors():
        return hub.fetched()


class _Hub:
    """One model at the hub."""

    def __init__(
        self,
        library: Any,  # noqa: ANN401  (a module of an extra)
        model: HubModel,
        model_dir: Path | None,
        progress: Progress | None,
    ) -> None:
        self.model = model
        self._library = library
        self._settings: dict[str, Any] = {
            "repo_id": model.repo,
            "revision": model.revision,
            "cache_dir": None if model_dir is None else str(expanded(model_dir)),
            "library_name": "maxwhisper",
            "endpoint": os.environ.get("HF_ENDPOINT") or None,
        }
        self._progress = progress

    def found_here(self) -> Path | None:
        """Returns the file or folder if all of it is in the cache."""
        if self.model.file is not None:
            return self._cached(self.model.file)
        for name in _WEIGHTS:
            path = self._cached(name)
            if path is not None:
                shards = _shards(path) if name.endswith(".json") else []
                return path.parent if all(map(self._cached, shards)) else None
        return None

    def fetched(self) -> Path:
        """Fetches what is missing, the descriptions first."""
        api = self._library.HfApi(
            endpoint=self._settings["endpoint"], library_name=self._settings["library_name"]
        )
        info = api.model_info(self.model.repo, revision=self.model.revision)
        self._settings["revision"] = (
            info.sha if self.model.revision is None else self.model.revision
        )
        names = {str(file.rfilename) for file in info.siblings or ()}
        path = self._fetch(self.model.file) if self.model.file else self._fetch_all(names)
        if self.model.revision is None:
            self._remember(info.sha)
        return path

    def _fetch_all(self, names: set[str]) -> Path:
        """Fetches a model with its descriptions, and returns its folder."""
        chosen = next((name for name in _WEIGHTS if name in names), None)
        if chosen is None:
            ggml = sorted(name for name in names if re.fullmatch(r"ggml-[\w.-]+\.bin", name))
            also = f"; name one of its files: {self.model.repo}/{ggml[0]}" if ggml else ""
            raise ModelNotFoundError(
                f"{self.model}: it has no {', no '.join(_WEIGHTS[:3])}{also or '; choose another'}"
            )
        for name in _DESCRIPTIONS:
            if name in names:
                self._fetch(name)
        path = self._fetch(chosen)
        for shard in _shards(path) if chosen.endswith(".json") else ():
            self._fetch(shard)
        return path.parent

    def _cached(self, name: str) -> Path | None:
        found = self._library.try_to_load_from_cache(
            self.model.repo,
            name,
            cache_dir=self._settings["cache_dir"],
            revision=self.model.revision,
        )
        return Path(found) if isinstance(found, str) else None

    def _fetch(self, name: str) -> Path:
        path = Path(
            self._library.hf_hub_download(
                filename=name, tqdm_class=_bar_class(self._progress), **self._settings
            )
        )
        announced = path.resolve().name
        if _SHA256.fullmatch(announced) and sha256_of(path.resolve()) != announced:
            path.resolve().unlink()
            raise WeightsError(
                f"{self.model}: {name} has another sha256 than the hub announced; it was thrown "
                "away: try again, perhaps on another network"
            )
        return path

    def _remember(self, commit: str) -> None:
        """Stores which commit the main branch is, so that the next run finds it without asking."""
        folder = self._library.file_download.repo_folder_name(
            repo_id=self.model.repo, repo_type="model"
        )
        root = Path(self._settings["cache_dir"] or self._library.constants.HF_HUB_CACHE)
        reference = root / folder / "refs" / "main"
        reference.parent.mkdir(parents=True, exist_ok=True)
        unfinished = reference.with_name(f"main.{os.getpid()}")
        unfinished.write_text(commit)
        unfinished.replace(reference)

    def translated_errors(self) -> "_Translation":
        """Returns a context in which the library's errors become ours."""
        return _Translation(self._library, self.model)


class _Translation:
    """Context that turns errors of huggingface_hub and of the network into ours."""

    def __init__(self, library: Any, model: HubModel) -> None:  # noqa: ANN401
        self._errors = library.errors
        self._model = model

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        import httpx2

        if error is None or isinstance(error, WeightsError):
            return
        reasons = list(self._reasons(error))
        if reasons:
            raise ModelNotFoundError(f"{self._model}: {reasons[0]}") from error
        if isinstance(error, httpx2.HTTPError | ConnectionError | TimeoutError):
            reason = f"{type(error).__name__}: {error}".rstrip(": ")
            raise ModelNotFoundError(
                f"{self._model}: the hub does not answer ({reason}); check the network"
            ) from error
        if isinstance(error, OSError):
            raise WeightsError(
                f"{self._model}: cannot be stored: {error.strerror or error}; choose another "
                "folder with --model-dir or HF_HOME"
            ) from error

    def _reasons(self, error: BaseException) -> Iterator[str]:
        """Yields what an answer of the hub means."""
        errors = self._errors
        if isinstance(error, errors.GatedRepoError):
            yield "access must be granted: ask for it on the hub, and set HF_TOKEN"
        if isinstance(error, errors.RepositoryNotFoundError):
            yield "the hub has no such model, or it is private: check the name, or set HF_TOKEN"
        if isinstance(error, errors.RevisionNotFoundError):
            yield f"it has no revision {self._model.revision}"
        if isinstance(error, errors.EntryNotFoundError):
            yield f"it has no file {self._model.file}" if self._model.file else "a file is missing"
        if isinstance(error, errors.HFValidationError):
            yield "the hub allows no such name"
        if isinstance(error, errors.HfHubHTTPError):
            status = getattr(error.response, "status_code", "an error")
            yield f"the hub answered {status}; try again later"


def _shards(index: Path) -> list[str]:
    """Returns the files that an index names, if they lie beside it."""
    try:
        content = json.loads(index.read_bytes())
        names: Iterable[object] = content["weight_map"].values()
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{index}: not an index of weights files; fetch it again") from error
    found = sorted({str(name) for name in names})
    outside = next((name for name in found if Path(name).name != name), None)
    if outside is not None:
        raise WeightsError(f"{index}: names {outside[:80]}, a file outside its folder")
    return found


def _bar_class(progress: Progress | None) -> "Callable[..., Any]":
    """Returns a progress bar that draws nothing and calls `progress`."""
    from tqdm.auto import tqdm

    class Bar(tqdm):  # type: ignore[misc]  # it has no types
        """A bar that is drawn by somebody else."""

        def __init__(self, *args: Any, **settings: Any) -> None:  # noqa: ANN401
            super().__init__(*args, **{**settings, "file": io.StringIO(), "leave": False})

        def display(self, *_args: Any, **_settings: Any) -> None:  # noqa: ANN401
            """Reports instead of drawing."""
            if progress is not None:
                progress(int(self.n), int(self.total or 0))

    return Bar
