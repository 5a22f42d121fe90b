"""Download of one published file: resumed after an interruption, checked, moved into place.

A file that is not the published one is never left at the target.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from weights.cache import CACHE_VARIABLE, hash_file, record_sha256, set_aside, sha256_of
from weights.errors import ModelNotFoundError, WeightsError
from weights.whole_number import whole_number

if TYPE_CHECKING:
    import httpx2

Progress = Callable[[int, int], None]
"""Callback with bytes received and bytes in all (0 if the server does not say)."""

_MAX_FAILED_ATTEMPTS = 3
_RETRY_SECONDS = 1.0
_TIMEOUT_SECONDS = 30.0
NETWORK_SETTING_ERRORS = (ImportError, OSError, ValueError)
"""A proxy without its package, missing certificates, an address that is none."""

_log = logging.getLogger(__name__)


def fetch(url: str, sha256: str, target: Path, progress: Progress | None = None) -> None:
    """Downloads `url` to `target`, and creates its folder if needed.

    Bytes arrive in `<target>.part`, which an interruption leaves for the next attempt, in this
    call or a later one. Of several processes one downloads and the others wait for it.

    Raises:
        ModelNotFoundError: The server cannot be reached, or does not have the file.
        WeightsError: What it sends has another sha256, or the folder cannot be written.
    """
    part = target.with_name(f"{target.name}.part")
    try:
        with locked(target):
            if target.is_file() and sha256_of(target) == sha256:
                return
            was_begun = part.exists()
            _download(url, part, progress)
            if was_begun and hash_file(part) != sha256:
                part.unlink()
                _download(url, part, progress)
            actual = hash_file(part)
            if actual != sha256:
                part.unlink()
                raise WeightsError(
                    f"{url}: what was received has sha256 {actual[:12]}..., not the published "
                    f"{sha256[:12]}...; it was thrown away: try again, perhaps on another network"
                )
            set_aside(target)
            part.replace(target)
            record_sha256(target, sha256)
    except OSError as error:
        raise cannot_write(target, error) from error


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Locks `target` against other processes, and creates its folder if needed."""
    from filelock import FileLock, Timeout

    target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{target}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _log.warning("%s: another process is writing it; waiting", target)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def cannot_write(target: Path, error: OSError) -> WeightsError:
    """Returns the error for a folder that `target` cannot be written to."""
    return WeightsError(
        f"{target}: cannot be written: {error.strerror or error}; choose another folder with "
        f"--model-dir or {CACHE_VARIABLE}"
    )


def _download(url: str, part: Path, progress: Progress | None) -> None:
    """Appends to `part` until it is complete; resumes after each attempt that made progress."""
    import httpx2

    n_failed = 0
    with _client() as client:
        while True:
            n_bytes_before = _size(part)
            try:
                _append(client, url, part, progress)
            except httpx2.InvalidURL as error:  # where it was sent on to
                raise ModelNotFoundError(f"{url}: cannot be fetched ({error})") from error
            except httpx2.HTTPError as error:
                n_failed = 0 if _size(part) > n_bytes_before else n_failed + 1
                if n_failed == _MAX_FAILED_ATTEMPTS or _is_final(error):
                    raise ModelNotFoundError(_failure(url, part, error)) from error
                time.sleep(_RETRY_SECONDS)
            else:
                return


def _client() -> "httpx2.Client":
    """Returns a client with the environment's proxies and certificates."""
    import httpx2

    try:
        return httpx2.Client(timeout=_TIMEOUT_SECONDS, follow_redirects=True)
    except NETWORK_SETTING_ERRORS as error:
        raise ModelNotFoundError(wrong_network_settings(error)) from error


def wrong_network_settings(error: Exception) -> str:
    """Returns the sentence for one of `NETWORK_SETTING_ERRORS`."""
    if isinstance(error, ImportError):
        return (
            f"the proxy of the environment (ALL_PROXY, HTTPS_PROXY) needs a package ({error}): "
            "pip install socksio, or unset the variable"
        )
    return (
        f"the network cannot be used as the environment says ({error}): "
        "check ALL_PROXY, HTTPS_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"
    )


def _append(client: "httpx2.Client", url: str, part: Path, progress: Progress | None) -> None:
    n_done = _size(part)
    headers = {"Accept-Encoding": "identity"}
    if n_done:
        headers["Range"] = f"bytes={n_done}-"
    with client.stream("GET", url, headers=headers) as response:
        if n_done and response.status_code == 416:
            return  # `part` is as long as the file, or longer: its sha256 decides
        response.raise_for_status()
        is_rest = response.headers.get("Content-Range", "").startswith(f"bytes {n_done}-")
        n_done = n_done if is_rest else 0
        announced = whole_number(response.headers.get("Content-Length", ""))
        n_total = 0 if announced is None else n_done + announced
        with part.open("ab" if is_rest else "wb") as file:
            for chunk in response.iter_raw():
                file.write(chunk)
                n_done += len(chunk)
                if progress is not None:
                    progress(n_done, n_total)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _is_final(error: "httpx2.HTTPError") -> bool:
    """Returns True if the server refused, as opposed to an interruption or an overload."""
    response = getattr(error, "response", None)
    return response is not None and response.status_code < 500


def _failure(url: str, part: Path, error: "httpx2.HTTPError") -> str:
    response = getattr(error, "response", None)
    if response is not None:
        reason = f"the server answered {response.status_code} {response.reason_phrase}".rstrip()
    else:
        reason = f"{type(error).__name__}: {error}".rstrip(": ")
    resume = f"; {_size(part)} bytes are kept, run again to go on" if _size(part) else ""
    return f"{url}: cannot be fetched ({reason}){resume}"
