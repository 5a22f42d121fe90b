"""Fallback to sampling: with one seed every implementation draws the same tokens as `cpu`.

No text passes these thresholds, so each window is decoded at every temperature and the last one,
sampled, is kept. A draw can differ only where a random number falls between two cumulative sums
that float32 rounding sets apart, by some 1e-5. So the models hear a language they know, at a low
temperature, with two samples: a few hundred draws. Thousands, as of an English model's noise over
Spanish at 0.8 with five samples, do part now and then.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.segments import Transcript
from tests.support import loaded
from tests.support.hardware import implementations

OPTIONS = TranscribeOptions(
    beam_size=None,
    temperatures=(0.0, 0.4),
    best_of=2,
    logprob_threshold=0.0,
    no_speech_threshold=None,
    seed=11,
)
SECONDS = 5
"""Seconds of a recording: enough for some hundred draws."""


@cache
def sampled(model: str, impl: str, path: Path) -> Transcript:
    """Returns a transcript, that of `cpu` once for all others."""
    options = replace(OPTIONS, language=None if model == "tiny.en" else "es")
    return loaded.model(model, impl).transcribe(loaded.samples_of(path, SECONDS), options)


def cases() -> list[Any]:
    """Returns all but `cpu`; base on `full-max` alone, as it draws in a graph of its own."""
    short = [("tiny.en", "jfk", impl) for impl in implementations()]
    long = [("base", "spanish", impl) for impl in implementations(in_full=("cuda", "hybrid"))]
    return [
        pytest.param(name, model, clip, marks=impl.marks, id=f"{name}-{model}-{clip}")
        for model, clip, impl in (*short, *long)
        if (name := impl.values[0]) != "cpu"
    ]


@pytest.mark.parametrize(("impl", "model", "clip"), cases(), indirect=["impl"])
def test_samples_what_cpu_samples(
    impl: str, model: str, clip: str, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(clip)
    ours, cpu = (sampled(model, name, path) for name in (impl, "cpu"))
    assert {segment.temperature for segment in cpu.segments} == {0.4}
    assert [(s.tokens, s.start, s.end) for s in ours.segments] == [
        (s.tokens, s.start, s.end) for s in cpu.segments
    ]
