"""Inputs that are not files: each as a local file for as long as it is read.

| address | by | without it |
| --- | --- | --- |
| http, https | httpx2 | |
| `ytdl:https://...` | yt-dlp, extra `ytdl` | an error that says so |
| `feed:https://...` | feedparser, extra `feeds`: its enclosures | an error that says so |
| s3, gs, az, hf, sftp, ftp, ... | fsspec and its package, where they are installed | likewise |
| file | a path | |
"""

import importlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from maxwhisper_cli.inputs.expand import Resolver
from maxwhisper_cli.inputs.fetch import (
    Download,
    FetchLimits,
    OnFetched,
    WebPageError,
    fetched,
    remote_version,
)
from maxwhisper_cli.inputs.input import Input, InputError
from weights.errors import MaxWhisperError

_PACKAGES: Final = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs",
    "abfss": "adlfs", "hf": "huggingface_hub", "sftp": "sshfs", "ssh": "paramiko",
    "oss": "ossfs", "dropbox": "dropboxdrivefs", "gdrive": "gdrivefs",
}  # fmt: skip
"""Package that fsspec needs for a scheme, besides itself."""
_LOCAL_SCHEMES: Final = ("file", "local")
_HTTP_SCHEMES: Final = ("http", "https")
_BLOCK_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class Remote(Resolver):
    """Opens addresses."""

    limits: FetchLimits = field(default_factory=FetchLimits)
    n_newest: int | None = None
    """Most episodes of a feed; None is all."""
    is_offline: bool = False

    def inputs(self, address: str) -> list[Input] | None:
        """Returns the episodes of a feed, and the files that a pattern names.

        Raises:
            InputError: They cannot be listed.
        """
        scheme = Input(address).scheme
        if scheme in _LOCAL_SCHEMES:
            return [Input(_path_of(address))]
        self._refuse_offline(address)
        if scheme == "feed":
            return self._episodes(address.partition(":")[2])
        if scheme not in (*_HTTP_SCHEMES, "ytdl") and any(mark in address for mark in "*["):
            return [Input(each, is_listed=True) for each in _matching(address)]
        return None

    def opener(
        self, each: Input, on_fetched: OnFetched | None = None
    ) -> Callable[[], AbstractContextManager[str]]:
        """Returns a function that gives the local file of an input; errors come when it is called.

        Other processes may be given it, if they can be given `on_fetched`.

        Args:
            each: The input.
            on_fetched: Called as bytes come in.
        """
        address, scheme = each.source, each.scheme
        if scheme is None:
            return partial(_as_it_is, address)
        if scheme == "ytdl":
            return partial(self._by_ytdl, address.partition(":")[2])
        if scheme in _HTTP_SCHEMES:
            return partial(self._by_http, address, on_fetched)
        return partial(self._by_fsspec, address)

    def version(self, each: Input) -> str | None:
        """Returns what an address holds now, without fetching it; None if that cannot be told."""
        address, scheme = each.source, each.scheme
        try:
            if scheme == "ytdl":
                return address  # a recording of that name does not change
            if scheme in _HTTP_SCHEMES:
                return remote_version(address, self.limits)
            fsspec = require_fsspec(address)
            with remote_errors(address):
                system, path = fsspec.core.url_to_fs(address)
                return f"{address} {system.ukey(path)}"
        except MaxWhisperError:
            return None

    @contextmanager
    def _by_http(self, address: str, on_fetched: OnFetched | None) -> Iterator[str]:
        self._refuse_offline(address)
        with ExitStack() as resources:
            try:
                path = str(resources.enter_context(fetched(address, self.limits, on_fetched)))
            except WebPageError as error:
                if error.is_feed:
                    raise
                path = resources.enter_context(self._by_ytdl(address))
            yield path

    @contextmanager
    def _by_fsspec(self, address: str) -> Iterator[str]:
        self._refuse_offline(address)
        with tempfile.TemporaryDirectory(prefix="maxwhisper-") as folder:
            target = Path(folder) / Input(address).path.name
            with remote_errors(address), _open(address) as source, target.open("wb") as file:
                n_bytes = 0
                while block := source.read(_BLOCK_BYTES):
                    n_bytes += len(block)
                    if n_bytes > self.limits.max_bytes:
                        raise InputError(
                            f"{address} has more than {self.limits.max_size}: "
                            "--max-download-mb allows more"
                        )
                    file.write(block)
            yield str(target)

    @contextmanager
    def _by_ytdl(self, address: str) -> Iterator[str]:
        self._refuse_offline(address)
        try:
            from yt_dlp import YoutubeDL
        except ImportError as error:
            raise InputError(
                f"{address} is a web page, and finding the recording in it needs yt-dlp: "
                "pip install 'maxwhisper[ytdl]'"
            ) from error
        if not self.limits.allow_private:
            from maxwhisper_cli.inputs.public_network import check_url

            check_url(address)
        with tempfile.TemporaryDirectory(prefix="maxwhisper-") as folder:
            settings: Any = {
                "format": "bestaudio/best",
                "outtmpl": {"default": f"{folder}/recording.%(ext)s"},
                "max_filesize": self.limits.max_bytes,
                "noplaylist": True,
                "playlist_items": "1",
                "quiet": True,
                "noprogress": True,
                "no_warnings": True,
                "logger": _Silent(),
            }
            try:
                with YoutubeDL(settings) as downloader:
                    downloader.download([address])
            except Exception as error:
                raise InputError(f"{address} cannot be fetched by yt-dlp: {error}") from error
            files = [path for path in Path(folder).iterdir() if path.suffix != ".part"]
            if not files:
                raise InputError(
                    f"{address}: yt-dlp fetched nothing; it may be longer than --max-download-mb"
                )
            yield str(files[0])

    def _episodes(self, address: str) -> list[Input]:
        try:
            import feedparser
        except ImportError as error:
            raise InputError(
                f"feed:{address} needs feedparser: pip install 'maxwhisper[feeds]'"
            ) from error
        with tempfile.TemporaryDirectory(prefix="maxwhisper-") as folder:
            part = Path(folder) / "feed"
            Download(address, part, self.limits, accepts_pages=True).run()
            feed = feedparser.parse(part.read_bytes())
        episodes = []
        for entry in feed.entries:
            links = [link.get("href") for link in entry.get("enclosures", ())]
            audio = next((link for link in links if link), None)
            if audio is not None:
                name = str(entry.get("title") or "").strip() or None
                episodes.append(Input(str(audio), stem=name, is_listed=True))
        if not episodes:
            raise InputError(f"feed:{address} has no episodes: is it the address of a feed?")
        return episodes[: self.n_newest]

    def _refuse_offline(self, address: str) -> None:
        if self.is_offline:
            raise InputError(f"{address} is on a network, which --offline forbids")


def _as_it_is(path: str) -> AbstractContextManager[str]:
    return nullcontext(path)


def _path_of(address: str) -> str:
    """Returns the path in a file's address."""
    import urllib.parse
    import urllib.request

    return urllib.request.url2pathname(urllib.parse.urlsplit(address).path)


class _Silent:
    """Logger that says nothing: errors are raised."""

    def debug(self, message: str) -> None:
        """Ignores a message."""

    warning = error = info = debug


@contextmanager
def remote_errors(address: str) -> Iterator[None]:
    """Converts the errors of any file system of fsspec into InputErrors."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise InputError(f"{address} cannot be read: {reason}") from error


def require_fsspec(address: str) -> Any:  # noqa: ANN401  (the module, which has no types)
    """Returns the module fsspec, once what an address needs is there.

    Raises:
        InputError: A package is missing, or nothing knows the scheme.
    """
    scheme = Input(address).scheme or ""
    needed = _PACKAGES.get(scheme)
    try:
        fsspec = importlib.import_module("fsspec")
    except ImportError as error:
        packages = " ".join(filter(None, ("fsspec", needed)))
        raise InputError(f"{address} needs packages: pip install {packages}") from error
    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        raise InputError(
            f"{address} needs a package: pip install {needed or 'what this names'} ({error})"
        ) from error
    except ValueError as error:
        raise InputError(f"{address}: there is nothing that opens {scheme}://") from error
    return fsspec


def _open(address: str) -> Any:  # noqa: ANN401  (fsspec has no types)
    fsspec = require_fsspec(address)
    return fsspec.open(address, "rb").open()


def _matching(address: str) -> list[str]:
    fsspec = require_fsspec(address)
    with remote_errors(address):
        system, path = fsspec.core.url_to_fs(address)
        found = [system.unstrip_protocol(each) for each in sorted(system.glob(path))]
    if not found:
        raise InputError(f"{address} matches no file")
    return found


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Returns True for an address that is no local file."""
    scheme = Input(os.fspath(path)).scheme
    return scheme is not None and scheme not in _LOCAL_SCHEMES
