"""The dtypes of a GPU's graphs; imports no MAX."""

from implementations.errors import ImplementationUnavailableError
from implementations.options import AUTO

DTYPES = ("float16", "float32", "bfloat16")
"""Types of matrices and caches, the default first; sums are in float32."""


def choose_dtype(requested: str | None) -> str:
    """Returns the dtype to compute in: the one asked for, or float16, which is also `auto`.

    The measured word error rates stand in max_graph/README.md.

    Raises:
        ImplementationUnavailableError: the graphs do not compute in that dtype on a GPU.
    """
    if requested in {None, AUTO}:
        return DTYPES[0]
    if requested not in DTYPES:
        raise ImplementationUnavailableError(
            f"the MAX graphs do not compute in {requested} on a GPU; "
            f"drop --dtype or use {' or '.join(DTYPES)}, or the CPU"
        )
    return str(requested)
