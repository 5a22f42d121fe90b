"""Detection of a process that was forked after a model had been loaded.

Threads do not survive a fork, and PyTorch's and MAX's pools wait for theirs for ever.
"""

import os

from implementations.errors import ImplementationUnavailableError

_ADVICE = (
    "load the model in the process that uses it, before which none is loaded, or start processes "
    "with 'spawn': multiprocessing.get_context('spawn')"
)
_loaded_in: int | None = None
"""Id of the process that loaded a model first; a fork inherits it."""


def refuse_fork() -> None:
    """Refuses to go on in a fork of a process with the threads of a loaded model.

    Raises:
        ImplementationUnavailableError: This process is one.
    """
    if _loaded_in not in {None, os.getpid()}:
        raise ImplementationUnavailableError(
            f"this process is a fork of one that has loaded a model, and cannot run any: {_ADVICE}"
        )


def mark_loaded() -> None:
    """Records that this process has the threads of a loaded model."""
    global _loaded_in  # noqa: PLW0603  (it is a fact about the process)
    _loaded_in = os.getpid()


def fork_message() -> str:
    """Returns the message for a model that was loaded before the process was forked."""
    return f"this model was loaded before the process was forked, and does not run here: {_ADVICE}"
