"""Our own warnings told in our own way; those of libraries are left as they are."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from implementations.errors import NotKeptWarning


@contextmanager
def own_warnings(tell: Callable[[str], None]) -> Iterator[None]:
    """Give the words of each of our warnings to `tell` while this is entered."""
    with warnings.catch_warnings():
        show_as_before = warnings.showwarning

        def show(  # the signature of `warnings.showwarning`
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, NotKeptWarning):
                tell(str(message))
            else:
                show_as_before(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        warnings.simplefilter("always", NotKeptWarning)
        yield
