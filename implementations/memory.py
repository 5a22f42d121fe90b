"""Memory of the host that is left, and errors where it does not suffice: limits, libraries."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from implementations.errors import ImplementationFailedError
from weights.errors import MaxWhisperError

_GPU_ADVICE = ", --device cpu none of it, and nvidia-smi shows who else uses it"
_GPU_OOM_MESSAGES = ("out of memory", "ALLOC_FAILED")
"""Messages of PyTorch and MAX, and of cuBLAS and cuDNN."""
_HOST_OOM_MESSAGE = "can't allocate memory"
"""Message of PyTorch; other libraries raise a MemoryError."""
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def available_bytes() -> int | None:
    """Returns the memory that is free or can be freed, within the limit of a container.

    None where the system does not say, as it does under Linux.
    """
    known = [] if (free := _available_in_machine()) is None else [free]
    limit, used = (_read_number(_CGROUP / f"memory.{name}") for name in ("max", "current"))
    if limit is not None and used is not None:
        known.append(limit - used)
    return min(known, default=None)


def _available_in_machine() -> int | None:
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return None
    found = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return next((int(kib) * 1024 for kib in found), None)


def _read_number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def no_address_space_because(n_bytes: int) -> str | None:
    """Returns the reason why this process cannot map so much memory; None where it can.

    A library that is refused memory may end the process without a word, so this comes first.

    Args:
        n_bytes: Address space that is needed, most of which is never used.
    """
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY or limit >= n_bytes:
        return None
    return (
        f"it needs {n_bytes / 1e9:.1f} GB of address space, and may take {limit / 1e9:.1f} GB; "
        "raise ulimit -v"
    )


@contextmanager
def translate_out_of_memory(
    device: str, error_type: type[MaxWhisperError] = ImplementationFailedError
) -> Iterator[None]:
    """Converts a library's out-of-memory error into a MaxWhisperError.

    Args:
        device: Name of the device, for the message.
        error_type: Class of the error to raise.

    Raises:
        MaxWhisperError: An `error_type`, whose message says what takes less memory.
    """
    try:
        yield
    except MaxWhisperError:
        raise  # its message has a remedy already
    except Exception as error:
        if any(message in str(error) for message in _GPU_OOM_MESSAGES):
            location, advice = device, _GPU_ADVICE
        elif isinstance(error, MemoryError) or _HOST_OOM_MESSAGE in str(error):
            location, advice = "this machine", ""
        else:
            raise
        raise error_type(
            f"{location} has too little memory left; a smaller --model, --batch-size or "
            f"--beam-size takes less{advice}"
        ) from error
