"""Guards of standard input, output and error, for streams that are closed or fail.

| stream | behaviour |
| --- | --- |
| a stream that is closed | its number leads nowhere, so that no file of ours gets it |
| a reader of stdout that leaves | BrokenPipeError, once; what follows is dropped |
| stdout that takes no more (a full disk) or is closed | OutputError, once; the rest is dropped |
| stderr that takes no more or is closed | its output is dropped |
| an encoding without some letter | another sign in its place |

`console` decides the effect of a failure on the work.
"""

import io
import os
import select
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_IN, _OUT, _ERR = 0, 1, 2


class ClosedStreamError(OSError):
    """Standard output was closed before the program began."""


class GuardedOutput(io.FileIO):
    """A stream that fails at most once, and then takes everything and writes nothing."""

    def __init__(self, descriptor: int, fail: Callable[[OSError], None]) -> None:
        """Wraps a descriptor, which stays open at the end.

        Args:
            descriptor: Number of an open file.
            fail: Called with the first error; raises what the writer gets, or returns.
        """
        super().__init__(descriptor, "wb", closefd=False)
        self._fail = fail
        self._is_lost = False
        self._n_unreported = 0
        """Bytes that left as an interrupt came, before the buffer above was told so."""

    def write(self, data: "ReadableBuffer", /) -> int:
        """Writes bytes, and waits where the stream does not."""
        n_bytes = memoryview(data).nbytes
        if self._is_lost:
            return n_bytes
        if self._n_unreported:  # the buffer tries the same bytes again
            n_written, self._n_unreported = self._n_unreported, 0
            return n_written
        written: list[int | None] = []
        try:
            while True:
                # One call from the loop's point of view: no interrupt between write and record.
                written.extend(map(super().write, (data,)))
                if written[-1] is not None:
                    return written[-1]
                select.select([], [self], [])
        except OSError as error:
            self.lose(error)
            return n_bytes
        except KeyboardInterrupt:
            self._n_unreported = (written[-1] if written else None) or 0
            raise

    def lose(self, error: OSError) -> None:
        """Marks the stream as lost, and reports the error."""
        self._is_lost = True
        self._fail(error)


class _ClosedOutput(GuardedOutput):
    """A stream that was closed from the beginning."""

    def write(self, data: "ReadableBuffer", /) -> int:
        """Fails at the first write."""
        if not self._is_lost:
            self.lose(ClosedStreamError("it is closed"))
        return memoryview(data).nbytes


def guard_standard_streams() -> None:
    """Replaces the process's streams by guarded ones."""
    were_open = [_is_open(descriptor) for descriptor in (_IN, _OUT, _ERR)]
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _ERR:
        pass  # the lowest free number is taken first
    os.close(descriptor)
    if sys.stdout is sys.__stdout__:
        kind = GuardedOutput if were_open[_OUT] else _ClosedOutput
        sys.stdout = _text(kind(_OUT, _fail_results), sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(GuardedOutput(_ERR, _ignore), sys.stderr, is_prompt=True)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _text(
    raw: GuardedOutput, like: "io.TextIOBase | object", *, is_prompt: bool = False
) -> io.TextIOWrapper:
    is_prompt = is_prompt or raw.isatty() or bool(getattr(like, "write_through", False))
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(like, "encoding", None),
        errors="replace",
        line_buffering=is_prompt,
    )


def _fail_results(error: OSError) -> None:
    if isinstance(error, BrokenPipeError):
        raise error
    from maxwhisper_cli.writers.base import OutputError

    raise OutputError(
        f"standard output cannot be written: {error.strerror or error}; choose another place"
    ) from error


def _ignore(error: OSError) -> None:
    """Ignores an error of stderr, which could be reported nowhere."""
