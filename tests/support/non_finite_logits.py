"""A window whose mel values, and so logits, are NaN."""

import numpy as np
import pytest

from implementations.errors import NonFiniteLogitsError
from implementations.implementation import Implementation
from implementations.request import DecodeRequest
from implementations.session import FloatArray


def assert_fails_without_affecting_batch(
    implementation: Implementation, speech: FloatArray, request: DecodeRequest
) -> None:
    """Decodes it beside speech [n_mels, 3000], repeatedly, alone and in a batch."""
    windows = implementation.encode(np.stack([speech, np.full_like(speech, np.nan)]))
    before = implementation.decode(windows[0], request)
    for _ in range(2):
        with pytest.raises(NonFiniteLogitsError):
            implementation.decode(windows[1], request)
        with pytest.raises(NonFiniteLogitsError):
            implementation.decode_batch(windows, [request] * 2)
        assert implementation.decode(windows[0], request) == before
