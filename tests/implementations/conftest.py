"""Every implementation, and a fifth one, held to what the contract says."""

from collections.abc import Iterator

import pytest

from implementations import registry
from implementations.implementation import Implementation
from tests.support import loaded, recompute
from tests.support.hardware import IMPLEMENTATIONS, skip_if_unavailable


@pytest.fixture(scope="module")
def a_fifth_implementation() -> Iterator[None]:
    """Another implementation in the registry, by its entry alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "ENTRIES", (*registry.ENTRIES, recompute.ENTRY))
        yield


@pytest.fixture(scope="module", params=[*IMPLEMENTATIONS, recompute.ENTRY.name])
def implementation(request: pytest.FixtureRequest, a_fifth_implementation: None) -> Implementation:
    """tiny.en on each implementation that can run here, in float32."""
    skip_if_unavailable(request.param)
    return loaded.model("tiny.en", request.param).implementation
