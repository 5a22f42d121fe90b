"""What is told where memory does not suffice, whichever library it is that runs out of it."""

from collections.abc import Iterator
from contextlib import contextmanager

from implementations.errors import ImplementationFailedError
from weights.errors import MaxWhisperError

_ELSEWHERE = ", --device cpu none of it, and nvidia-smi shows who else uses it"
_SAID_BY_LIBRARIES = ("out of memory", "can't allocate memory", "ALLOC_FAILED")
"""By PyTorch and MAX of a GPU; by PyTorch of the machine; by cuBLAS and cuDNN."""


@contextmanager
def told_when_full(
    device: str, kind: type[MaxWhisperError] = ImplementationFailedError
) -> Iterator[None]:
    """Let what a library says of too little memory on a device become an error of ours.

    Raises:
        MaxWhisperError: of that kind; it says what takes less memory.
    """
    try:
        yield
    except Exception as error:
        is_it = any(said in str(error) for said in _SAID_BY_LIBRARIES)
        if not is_it and not isinstance(error, MemoryError):
            raise
        place, elsewhere = (device, _ELSEWHERE) if device != "cpu" else ("this machine", "")
        raise kind(
            f"{place} has too little memory left; a smaller --model, --batch-size or --beam-size "
            f"takes less{elsewhere}"
        ) from error
