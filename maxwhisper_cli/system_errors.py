"""Errors of the operating system as messages: too little memory, no such folder, a full disk.

Expected errors become a `MaxWhisperError` with a remedy where they occur. This module is for all
others.
"""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

from weights.errors import MaxWhisperError

SYSTEM_ERRORS = (OSError, MemoryError, UnicodeError, RecursionError)


def refusal(error: BaseException, subject: str = "") -> MaxWhisperError:
    """Returns a MaxWhisperError for one of `SYSTEM_ERRORS`.

    Args:
        error: One of them.
        subject: Object of the operation, such as a file's name.
    """
    return MaxWhisperError(": ".join(filter(None, (subject, _sentence(error)))))


@contextmanager
def refusals_as_errors(subject: str = "") -> Iterator[None]:
    """Converts `SYSTEM_ERRORS` into MaxWhisperErrors.

    Args:
        subject: File, folder or other object of the work.

    Raises:
        MaxWhisperError: The system refuses something.
    """
    try:
        yield
    except SYSTEM_ERRORS as error:
        raise refusal(error, subject) from error


def _sentence(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        limited = f" (at most {limit / 1e6:,.0f} MB: ulimit -v)"
        given = "" if limit == resource.RLIM_INFINITY else limited
        return f"there is too little memory{given}: free some, or take a smaller model"
    if isinstance(error, RecursionError):
        return "it is nested too deeply to be read"
    if isinstance(error, OSError):
        if isinstance(error, FileNotFoundError) and is_current_folder_gone():
            return "the current folder no longer exists: change to another"
        named = [os.fsdecode(n) for n in (error.filename,) if isinstance(n, str | bytes)]
        return ": ".join([*named, f"the system refuses it: {error.strerror or error}"])
    return f"it is not text as it should be: {error}"


def is_current_folder_gone() -> bool:
    """Returns True if the current folder has been removed."""
    try:
        os.stat(os.getcwd())  # noqa: PTH109, PTH116  (both may fail)
    except OSError:
        return True
    return False
