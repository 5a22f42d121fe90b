"""Fallback to sampling: with one seed every implementation draws the same tokens as `cpu`.

No text passes these thresholds, so each window is decoded at every temperature and the last one,
sampled, is kept. A draw can only differ where a random number falls between two cumulative sums
that rounding sets apart, about once in 100,000 tokens; these recordings have some 300.
"""

from pathlib import Path

import pytest

from implementations import registry
from maxwhisper_cli.transcription.options import TranscribeOptions
from tests.support import loaded

OPTIONS = TranscribeOptions(
    temperatures=(0.0, 0.4, 0.8), logprob_threshold=0.0, no_speech_threshold=None, seed=11
)


@pytest.mark.parametrize("clip", ["jfk", "spanish"])
@pytest.mark.parametrize("model", ["tiny.en", "base"])
@pytest.mark.parametrize("impl", [name for name in registry.names() if name != "cpu"])
def test_samples_what_cpu_samples(
    impl: str, model: str, clip: str, request: pytest.FixtureRequest
) -> None:
    if (reason := registry.unavailable_because(impl)) is not None:
        pytest.skip(f"{impl}: {reason}")
    path: Path = request.getfixturevalue(clip)
    ours, cpu = (
        loaded.model(model, name).transcribe(loaded.samples_of(path), OPTIONS)
        for name in (impl, "cpu")
    )
    assert {segment.temperature for segment in cpu.segments} == {0.8}
    assert [(s.tokens, s.start, s.end) for s in ours.segments] == [
        (s.tokens, s.start, s.end) for s in cpu.segments
    ]
