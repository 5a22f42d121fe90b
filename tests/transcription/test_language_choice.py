"""Languages of which one is spoken: the most probable of them, by the probability among all."""

from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from maxwhisper_cli.transcription.language_id import detect_language
from maxwhisper_cli.transcription.tokenizer import get_tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from implementations.implementation import Implementation

TOKENIZER = get_tokenizer(True)
LOGITS = {"de": 9.0, "es": 8.0, "fr": 5.0}


@contextmanager
def start(*_: object) -> "Iterator[Any]":
    """A session whose logits are those of the table."""
    logits = np.zeros((1, TOKENIZER.n_vocab), np.float32)
    for code, logit in LOGITS.items():
        logits[0, TOKENIZER.to_language_token(code)] = logit
    yield SimpleNamespace(prefill=lambda *_: logits.copy())


@pytest.mark.parametrize(
    ("allowed", "code"),
    [(None, "de"), (("es", "fr"), "es"), (("fr",), "fr"), (("de", "fr"), "de"), ((), "de")],
)
def test_the_most_probable_allowed_language(allowed: tuple[str, ...] | None, code: str) -> None:
    implementation = cast("Implementation", SimpleNamespace(start=start))
    windows = cast("Any", [None, None])
    found = detect_language(implementation, windows, TOKENIZER, allowed)
    assert found.code == code
    total = sum(map(np.exp, LOGITS.values())) + len(TOKENIZER.all_language_codes) - len(LOGITS)
    assert found.probability == pytest.approx(np.exp(LOGITS[code]) / total, rel=1e-6)
