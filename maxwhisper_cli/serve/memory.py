"""Memory that a further model takes."""

from pathlib import Path

from weights.models import NAMED_MODELS

_PER_BYTE = 3
"""Bytes of memory for each byte of published weights (float16): float32, and room to load."""


def needed_bytes(source: str) -> int:
    """Returns the memory that a model takes at most, by its published size or that of its file."""
    model = NAMED_MODELS.get(source)
    if model is not None:
        return _PER_BYTE * model.n_bytes
    path = Path(source)
    try:
        files = [path] if path.is_file() else [each for each in path.iterdir() if each.is_file()]
        return _PER_BYTE * sum(each.stat().st_size for each in files)
    except OSError:
        return 0  # loading says what is wrong with it
