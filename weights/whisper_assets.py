"""Vocabularies and mel filters of openai-whisper, as files of its package; it is not imported."""

import base64
import binascii
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from weights.errors import WeightsError
from weights.packages import file_in_package

_PACKAGE = "whisper"


@cache
def words_of(*, is_multilingual: bool) -> tuple[bytes, ...]:
    """Returns the words of a vocabulary by their ids; special tokens are not among them.

    Raises:
        WeightsError: openai-whisper is not installed, or not whole.
    """
    path = _asset("multilingual.tiktoken" if is_multilingual else "gpt2.tiktoken")
    try:
        pairs = (line.split() for line in path.read_bytes().splitlines() if line)
        ranks = {int(rank): base64.b64decode(word) for word, rank in pairs}
    except (OSError, ValueError, binascii.Error) as error:
        raise _missing() from error
    return tuple(ranks[rank] for rank in sorted(ranks))


@cache
def mel_filters(n_mels: int) -> npt.NDArray[np.float32] | None:
    """Returns the mel filters, [n_mels, 201]; None if Whisper has none of so many bands.

    Raises:
        WeightsError: openai-whisper is not installed, or not whole.
    """
    try:
        with np.load(_asset("mel_filters.npz"), allow_pickle=False) as filters:
            name = f"mel_{n_mels}"
            return np.asarray(filters[name], np.float32) if name in filters else None
    except (OSError, ValueError) as error:
        raise _missing() from error


def _asset(name: str) -> Path:
    path = file_in_package(_PACKAGE, f"assets/{name}")
    if path is None:
        raise _missing()
    return path


def _missing() -> WeightsError:
    return WeightsError(
        "the vocabulary of the file cannot be checked: pip install openai-whisper brings Whisper's"
    )
