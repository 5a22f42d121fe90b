"""Implementations that tests run on, with the GPU that some need."""

from collections.abc import Collection
from typing import Any

import pytest

from implementations import nvidia, registry


def implementations(*, in_full: Collection[str] = ()) -> list[Any]:
    """Returns all of them as parameters, of which some run in `full` alone."""
    return [
        pytest.param(
            name,
            marks=[pytest.mark.gpu] * (name == "cuda") + [pytest.mark.full] * (name in in_full),
        )
        for name in registry.names()
    ]


IMPLEMENTATIONS = implementations()

needs_max_gpu = pytest.mark.skipif(
    nvidia.architecture("cuda") not in nvidia.KNOWN_ARCHITECTURES,
    reason="there is no GPU that the MAX graphs run on: Ampere or newer",
)
needs_two_max_gpus = pytest.mark.skipif(
    nvidia.architecture("cuda:1") not in nvidia.KNOWN_ARCHITECTURES,
    reason="there is no second GPU that the MAX graphs run on: Ampere or newer",
)
"""Asked here, before any test hides the GPUs: the driver looks at CUDA_VISIBLE_DEVICES once."""


def skip_if_unavailable(name: str) -> None:
    """Skips a test of an implementation that cannot run here, and say why."""
    if (reason := registry.unavailable_because(name)) is not None:
        pytest.skip(f"{name}: {reason}")
