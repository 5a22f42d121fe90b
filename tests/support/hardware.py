"""Which implementations tests run on, and which of them need a GPU."""

import pytest

from implementations import registry

IMPLEMENTATIONS = [
    pytest.param(name, marks=pytest.mark.gpu) if name == "cuda" else name
    for name in registry.names()
]
"""All of them, as parameters."""


def skip_if_unavailable(name: str) -> None:
    """Skip a test of an implementation that cannot run here, and say why."""
    if (reason := registry.unavailable_because(name)) is not None:
        pytest.skip(f"{name}: {reason}")
