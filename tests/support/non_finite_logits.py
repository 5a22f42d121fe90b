"""A window whose mel values, and so logits, are NaN."""

import pytest

from implementations.errors import NonFiniteLogitsError
from implementations.implementation import Implementation
from implementations.request import DecodeRequest
from implementations.session import AudioFeatures


def assert_fails_without_affecting_batch(
    implementation: Implementation, windows: AudioFeatures, request: DecodeRequest
) -> None:
    """Decodes it, the second window, beside speech, the first; repeatedly, alone and in a batch."""
    decodes_one_by_one = type(implementation).decode_batch is Implementation.decode_batch
    before = implementation.decode(windows[0], request)
    for _ in range(2):
        with pytest.raises(NonFiniteLogitsError):
            implementation.decode(windows[1], request)
        if not decodes_one_by_one:
            with pytest.raises(NonFiniteLogitsError):
                implementation.decode_batch(windows, [request] * 2)
        assert implementation.decode(windows[0], request) == before
