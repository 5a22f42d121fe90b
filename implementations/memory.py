"""What is told where memory does not suffice, whichever library it is that runs out of it."""

from collections.abc import Iterator
from contextlib import contextmanager

from implementations.errors import ImplementationFailedError
from weights.errors import MaxWhisperError

_ELSEWHERE = ", --device cpu none of it, and nvidia-smi shows who else uses it"
_SAID_OF_GPUS = ("out of memory", "ALLOC_FAILED")
"""By PyTorch and MAX; by cuBLAS and cuDNN."""
_SAID_OF_THE_MACHINE = "can't allocate memory"
"""By PyTorch; others raise a MemoryError."""


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
    except MaxWhisperError:
        raise  # it says what is wrong already, and how to mend that
    except Exception as error:
        if any(said in str(error) for said in _SAID_OF_GPUS):
            place, elsewhere = device, _ELSEWHERE
        elif isinstance(error, MemoryError) or _SAID_OF_THE_MACHINE in str(error):
            place, elsewhere = "this machine", ""
        else:
            raise
        raise kind(
            f"{place} has too little memory left; a smaller --model, --batch-size or --beam-size "
            f"takes less{elsewhere}"
        ) from error
