"""Comparison of words and their times."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from maxwhisper_cli.transcription.segments import Transcript

ENDS = ("start", "end")


def assert_words_equal(ours: Transcript, theirs: dict[str, Any]) -> None:
    """Compares a transcript with openai-whisper's, times to the hundredth of a second.

    That is how openai-whisper rounds them; probabilities agree to 1e-3.
    """
    assert ours.text == theirs["text"]
    for mine, reference in zip(ours.segments, theirs["segments"], strict=True):
        assert (mine.id, mine.seek, mine.text) == tuple(
            reference[k] for k in ("id", "seek", "text")
        )
        assert list(mine.tokens) == reference["tokens"]
        assert mine.words is not None
        assert [w.word for w in mine.words] == [w["word"] for w in reference["words"]]
        times = [mine.start, mine.end, *(at for w in mine.words for at in (w.start, w.end))]
        expected = [float(each[at]) for each in (reference, *reference["words"]) for at in ENDS]
        np.testing.assert_allclose(np.round(times, 2), np.round(expected, 2), atol=1e-9)
        np.testing.assert_allclose(
            [w.probability for w in mine.words],
            [w["probability"] for w in reference["words"]],
            atol=1e-3,
        )


def assert_words_agree(found: Transcript | None, expected: Transcript) -> None:
    """Compares two transcripts of ours: sums in another order move probabilities alone."""
    assert found is not None
    for mine, reference in zip(found.segments, expected.segments, strict=True):
        assert (mine.text, mine.start, mine.end) == (reference.text, reference.start, reference.end)
        assert mine.words is not None
        assert reference.words is not None
        for word, other in zip(mine.words, reference.words, strict=True):
            assert word == replace(other, probability=word.probability)
            assert word.probability == pytest.approx(other.probability, abs=1e-3)
