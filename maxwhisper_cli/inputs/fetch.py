"""Download of a recording that somebody published: with limits, and resumed where it was cut.

Bytes arrive in a file of the cache folder, named after the address, which an interruption leaves
for the next attempt. What the server says of the version (ETag, Last-Modified) is kept beside it; a
recording that has changed meanwhile is fetched anew. A finished file is removed after its use.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from maxwhisper_cli.inputs.input import InputError
from maxwhisper_cli.inputs.public_network import (
    ForbiddenAddressError,
    UnresolvedNameError,
    make_client,
)
from weights.cache import cache_root
from weights.whole_number import whole_number

if TYPE_CHECKING:
    import httpx2

OnFetched = Callable[[int, int], None]
"""Callback with bytes received and bytes in all (0 if the server does not say)."""
_MAX_FAILED_ATTEMPTS: Final = 3
_RETRY_SECONDS: Final = 1.0
_TEXT_TYPES: Final = ("text/html", "application/xhtml+xml")
_FEED_TYPES: Final = ("application/rss+xml", "application/atom+xml", "text/xml", "application/xml")


class WebPageError(InputError):
    """An address leads to a web page or a feed, not to a recording."""

    def __init__(self, message: str, *, is_feed: bool) -> None:
        super().__init__(message)
        self.is_feed = is_feed


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Limits of one download."""

    max_bytes: int = 4 * 2**30
    max_seconds: float = 3600.0
    allow_private: bool = False
    """True allows addresses of private networks."""

    @property
    def max_size(self) -> str:
        """The largest size, in words."""
        return f"{round(self.max_bytes / 2**20, 3):,.10g} MiB"


@contextmanager
def fetched(url: str, limits: FetchLimits, on_fetched: OnFetched | None = None) -> Iterator[Path]:
    """Fetches a recording for as long as the context lasts.

    Raises:
        WebPageError: The address leads to a page or feed.
        InputError: It cannot be fetched, is too large or takes too long.
        ForbiddenAddressError: It leads to a private network.
    """
    target = _folder() / hashlib.sha256(url.encode()).hexdigest()[:32]
    part = target.with_suffix(".part")
    from filelock import FileLock

    with FileLock(target.with_suffix(".lock")):
        try:
            Download(url, part, limits, on_fetched).run()
        except OSError as error:
            raise InputError(
                f"{url} cannot be kept in {target.parent}: {error.strerror or error}"
            ) from error
        try:
            yield part
        finally:
            _remove(part)


def remote_version(url: str, limits: FetchLimits) -> str | None:
    """Returns an address with its version as the server tells it; None if it does not.

    Raises:
        MaxWhisperError: The address is forbidden, or its name not known.
    """
    import httpx2

    from weights.download import NETWORK_SETTING_ERRORS

    try:
        with make_client(allow_private=limits.allow_private) as client:
            response = client.head(url, headers={"Accept-Encoding": "identity"})
    except (httpx2.HTTPError, httpx2.InvalidURL, *NETWORK_SETTING_ERRORS):
        return None
    version = _version_of(response)
    return f"{url} {version}" if response.status_code == 200 and version else None


class Download:
    """Download of one address into one file."""

    def __init__(
        self,
        url: str,
        part: Path,
        limits: FetchLimits,
        on_fetched: OnFetched | None = None,
        *,
        accepts_pages: bool = False,
    ) -> None:
        """Sends nothing yet.

        Args:
            url: The address.
            part: File to write; what is in it is the beginning of an earlier attempt.
            limits: Limits of size, time and network.
            on_fetched: Called as bytes come in.
            accepts_pages: True takes pages and feeds too.
        """
        self._url = url
        self._part = part
        self._version_file = part.with_suffix(".json")
        self._limits = limits
        self._on_fetched = on_fetched
        self._accepts_pages = accepts_pages
        self._deadline = time.monotonic() + limits.max_seconds

    def run(self) -> None:
        """Fetches all of it, in as many attempts as make progress, and three that do not.

        Raises:
            InputError: It cannot be fetched.
            OSError: The file cannot be written.
        """
        import httpx2

        from weights.download import NETWORK_SETTING_ERRORS, wrong_network_settings

        try:
            client = make_client(allow_private=self._limits.allow_private)
        except NETWORK_SETTING_ERRORS as error:
            raise InputError(wrong_network_settings(error)) from error
        n_failed = 0
        with client:
            while True:
                n_before = self._n_bytes
                try:
                    self._append(client)
                except (ForbiddenAddressError, UnresolvedNameError) as error:
                    raise type(error)(f"{self._url} cannot be fetched: {error}") from error
                except httpx2.InvalidURL as error:
                    raise InputError(f"{self._url} cannot be fetched: {error}") from error
                except httpx2.HTTPError as error:
                    n_failed = 0 if self._n_bytes > n_before else n_failed + 1
                    if n_failed == _MAX_FAILED_ATTEMPTS or _is_final(error):
                        raise InputError(self._failure(error)) from error
                    self._check_time()
                    time.sleep(_RETRY_SECONDS)
                else:
                    return

    @property
    def _n_bytes(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _append(self, client: "httpx2.Client") -> None:
        n_done = self._n_bytes
        headers = {"Accept-Encoding": "identity"}
        version = self._version() if n_done else None
        if version is not None:
            headers |= {"Range": f"bytes={n_done}-", "If-Range": version}
        with client.stream("GET", self._url, headers=headers) as response:
            if version is not None and response.status_code == 416:
                length = response.headers.get("Content-Range", "").rpartition("/")[2]
                if length == str(n_done):
                    return  # it was complete
                _remove(self._part)
                _raise_broken(response)
            response.raise_for_status()
            is_rest = response.status_code == 206 and response.headers.get(
                "Content-Range", ""
            ).startswith(f"bytes {n_done}-")
            if not self._accepts_pages:
                self._refuse_page(response)
            self._receive(response, n_done if is_rest else 0)

    def _receive(self, response: "httpx2.Response", n_done: int) -> None:
        announced = whole_number(response.headers.get("Content-Length", ""))
        n_total = 0 if announced is None else n_done + announced
        self._check_size(n_total)
        if not n_done:
            self._store_version(response)
        with self._part.open("ab" if n_done else "wb") as file:
            for chunk in response.iter_raw():
                n_done += len(chunk)
                self._check_size(n_done)
                self._check_time()
                file.write(chunk)
                if self._on_fetched is not None:
                    self._on_fetched(n_done, n_total)
        if n_total and n_done < n_total:
            _raise_broken(response)

    def _check_size(self, n_bytes: int) -> None:
        if n_bytes > self._limits.max_bytes:
            _remove(self._part)
            raise InputError(
                f"{self._url} has more than {self._limits.max_size}: --max-download-mb allows more"
            )

    def _check_time(self) -> None:
        if time.monotonic() > self._deadline:
            raise InputError(
                f"{self._url} takes more than {self._limits.max_seconds:,.0f} s: "
                "--max-download-seconds allows more; what has come is kept for the next run"
            )

    def _refuse_page(self, response: "httpx2.Response") -> None:
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind in _FEED_TYPES:
            message = f"{self._url} is a feed: write feed:{self._url} for its episodes"
            raise WebPageError(message, is_feed=True)
        if kind in _TEXT_TYPES:
            raise WebPageError(f"{self._url} is a web page, and no recording", is_feed=False)

    def _version(self) -> str | None:
        """Returns what tells versions of the recording apart, as it was at the beginning."""
        try:
            stored = json.loads(self._version_file.read_bytes())
            return str(stored["version"]) if stored["url"] == self._url else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _store_version(self, response: "httpx2.Response") -> None:
        """Keeps a strong ETag or the time of change; without them nothing can be resumed."""
        version = _version_of(response)
        _remove(self._version_file)
        if version and response.status_code == 200:
            self._version_file.write_text(json.dumps({"url": self._url, "version": version}))

    def _failure(self, error: "httpx2.HTTPError") -> str:
        response = getattr(error, "response", None)
        if response is not None:
            reason = f"the server answered {response.status_code} {response.reason_phrase}".rstrip()
        else:
            reason = f"{type(error).__name__}: {error}".rstrip(": ")
        kept = f"; {self._n_bytes:,} bytes are kept, run again to go on" if self._n_bytes else ""
        return f"{self._url} cannot be fetched ({reason}){kept}"


def _version_of(response: "httpx2.Response") -> str:
    """Returns a strong ETag, or the time of the last change; empty without both."""
    version = str(response.headers.get("ETag", ""))
    if version.startswith("W/") or not version:
        return str(response.headers.get("Last-Modified", ""))
    return version


def _folder() -> Path:
    folder = cache_root() / "inputs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror}") from error
    return folder


def _remove(part: Path) -> None:
    for path in (part, part.with_suffix(".json")):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _is_final(error: "httpx2.HTTPError") -> bool:
    response = getattr(error, "response", None)
    return response is not None and 400 <= response.status_code < 500


def _raise_broken(response: "httpx2.Response") -> None:
    import httpx2

    raise httpx2.ReadError("the connection ended early", request=response.request)
