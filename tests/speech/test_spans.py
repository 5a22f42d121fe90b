"""Spans of speech: silero-vad's rules, on its own answers and one rule at a time."""

from dataclasses import replace
from typing import Any

import pytest

from maxwhisper_cli.speech.spans import FRAME_SAMPLES, find_spans
from maxwhisper_cli.transcription.vad_options import VadOptions

FASTER_WHISPER = VadOptions(threshold=0.5, min_silence_ms=2000)
PLAIN = VadOptions(threshold=0.5, min_speech_ms=0, min_silence_ms=100, speech_pad_ms=0)
N_FRAMES = 700
N_SAMPLES = N_FRAMES * FRAME_SAMPLES - 100

# Each line: options, and what `get_speech_timestamps_from_probs` of silero-vad 6.2.3 answers for
# `levels` of the line's number. Both agreed on 4000 other sequences, 16,089 spans.
SILERO: list[tuple[dict[str, Any], list[tuple[int, int]]]] = [
    (
        {"min_silence_ms": 100, "speech_pad_ms": 30},
        [(0, 106464), (109088, 119776), (156192, 179168), (204320, 294368), (297504, 311776),
         (323104, 331744)],
    ),
    ({}, [(0, 358300)]),
    (
        {"min_silence_ms": 500},
        [(24832, 97536), (99584, 121600), (134912, 173312), (192768, 232448), (232448, 289536),
         (291584, 358300)],
    ),
    (
        {"min_silence_ms": 100, "speech_pad_ms": 30, "max_speech_s": 3},
        [(3104, 40416), (41504, 85472), (115744, 127456), (141856, 157152), (160800, 193504),
         (201760, 249088), (249088, 258528), (276512, 307680), (320544, 328672)],
    ),
    (
        {"max_speech_s": 5},
        [(0, 15616), (22272, 101632), (101632, 119296), (119296, 189184), (189184, 260096),
         (260096, 296704), (317184, 358300)],
    ),
    (
        {"threshold": 0.3, "neg_threshold": 0.1, "min_speech_ms": 0, "min_silence_ms": 0,
         "speech_pad_ms": 0},
        [(0, 50688), (103424, 158208), (169472, 172032), (176128, 265728), (283648, 317440),
         (334848, 358300)],
    ),
    (
        {"threshold": 0.8, "min_speech_ms": 1000, "min_silence_ms": 160},
        [(34048, 64256), (80640, 141056), (197376, 227072)],
    ),
]  # fmt: skip


def levels(seed: int) -> list[float]:
    """Returns steps of 0 to 1 that last 1 to 40 frames, the same on every machine."""
    state, values = seed, list[float]()

    def draw(n: int) -> int:
        nonlocal state
        state = (1103515245 * state + 12345) % 2**31
        return (state >> 16) % n

    while len(values) < N_FRAMES:
        level = draw(11) / 10
        values += [level] * (1 + draw(40))
    return values[:N_FRAMES]


def frames(probabilities: list[float], options: VadOptions = PLAIN) -> list[tuple[float, float]]:
    """Returns start and end of each span, in frames."""
    spans = find_spans(probabilities, len(probabilities) * FRAME_SAMPLES, options)
    return [(span.start / FRAME_SAMPLES, span.end / FRAME_SAMPLES) for span in spans]


@pytest.mark.parametrize("number", range(len(SILERO)))
def test_equal_to_silero(number: int) -> None:
    given, expected = SILERO[number]
    spans = find_spans(levels(number + 1), N_SAMPLES, replace(FASTER_WHISPER, **given))
    assert [(span.start, span.end) for span in spans] == expected


def test_nothing() -> None:
    assert frames([]) == []
    assert frames([0.0] * 100) == []
    assert frames([0.49] * 100) == []


def test_speech_begins_at_the_threshold_and_ends_below_the_other() -> None:
    assert frames([0.1] * 10 + [0.5] * 10 + [0.35] * 20) == [(10, 40)]
    assert frames([0.1] * 10 + [0.5] * 10 + [0.34] * 20) == [(10, 20)]
    assert frames([0.1] * 10 + [0.5] * 10 + [0.3] * 20, replace(PLAIN, neg_threshold=0.3)) == [
        (10, 40)
    ]


def test_pauses_shorter_than_the_least_are_speech() -> None:
    # 100 ms are 3.1 frames: a pause counts when a frame begins at least so long after its start.
    assert frames([1.0] * 5 + [0.0] * 4 + [1.0] * 5) == [(0, 14)]
    assert frames([1.0] * 5 + [0.0] * 5 + [1.0] * 5) == [(0, 5), (10, 15)]


def test_a_pause_goes_on_until_speech_returns() -> None:
    between = [0.0, 0.4, 0.4, 0.4, 0.0, 0.0]  # 0.4 neither ends a pause nor begins one
    assert frames([1.0] * 5 + between + [1.0] * 5) == [(0, 5), (11, 16)]


def test_short_speech_is_ignored() -> None:
    blip = [0.0] * 10 + [1.0] * 5 + [0.0] * 10
    assert frames(blip) == [(10, 15)]
    assert frames(blip, replace(PLAIN, min_speech_ms=160)) == []
    assert frames(blip, replace(PLAIN, min_speech_ms=159)) == [(10, 15)]


def test_padding_ends_in_the_middle_of_a_short_pause() -> None:
    speech = [0.0] * 2 + [1.0] * 5 + [0.0] * 5 + [1.0] * 5 + [0.0] * 9
    assert frames(speech, replace(PLAIN, speech_pad_ms=32)) == [(1, 8), (11, 18)]
    assert frames(speech, replace(PLAIN, speech_pad_ms=128)) == [(0, 9.5), (9.5, 21)]


def test_long_speech_is_split_at_its_longest_pause() -> None:
    speech = [1.0] * 10 + [0.0] * 5 + [1.0] * 10 + [0.0] * 8 + [1.0] * 40
    options = replace(PLAIN, min_silence_ms=2000, max_speech_s=1.6)
    assert frames(speech, options) == [(0, 25), (33, 73)]
    without_pauses = frames([1.0] * 120, options)
    assert without_pauses == [(0, 50), (51, 101), (102, 120)]
    assert all(end - start <= 50 for start, end in without_pauses)
