"""A window in which nothing is a number."""

import numpy as np
import pytest

from implementations.errors import NotNumbersError
from implementations.implementation import Implementation
from implementations.request import DecodeRequest
from implementations.session import FloatArray


def assert_an_error_that_harms_no_other(
    implementation: Implementation, speech: FloatArray, request: DecodeRequest
) -> None:
    """Decode it beside speech [n_mels, 3000], again and again, alone and in a batch."""
    windows = implementation.encode(np.stack([speech, np.full_like(speech, np.nan)]))
    before = implementation.decode(windows[0], request)
    for _ in range(2):
        with pytest.raises(NotNumbersError):
            implementation.decode(windows[1], request)
        with pytest.raises(NotNumbersError):
            implementation.decode_batch(windows, [request] * 2)
        assert implementation.decode(windows[0], request) == before
