"""Transcription of the parts with speech: windows, times, prompts, language, warnings."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from implementations.request import DecodedWindow, DecodeRequest
from implementations.session import AudioFeatures
from maxwhisper_cli.transcription import recording_language
from maxwhisper_cli.transcription.language_id import DetectedLanguage, detect_language
from maxwhisper_cli.transcription.mel import Clip, MelSpectrogram
from maxwhisper_cli.transcription.options import OptionsError, TranscribeOptions, VadOptions
from maxwhisper_cli.transcription.segments import Progress, Transcript
from maxwhisper_cli.transcription.speakers import start_run
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from tests.support.driving import parts
from tests.support.scripted import BEGIN, TINY_EN, ScriptedFeatures, ScriptedImplementation, window

TOKENIZER = get_tokenizer(False)
MULTILINGUAL = get_tokenizer(True)
OPTIONS = TranscribeOptions(temperatures=(0.0,), vad=VadOptions())
SPEECH = ((500, 1000), (2000, 2300), (8000, 12500))


def say(text: str, seconds: float) -> DecodedWindow:
    """A closed segment from the window's beginning, to its end if that is `seconds` later."""
    return window([BEGIN, *TOKENIZER.encode(text), BEGIN + round(seconds / 0.02)])


def run(
    speech: tuple[Clip, ...] | None,
    script: list[DecodedWindow] | DecodedWindow,
    options: TranscribeOptions = OPTIONS,
    n_vocab: int = TINY_EN.n_vocab,
) -> tuple[Transcript, ScriptedImplementation, list[Progress]]:
    """Transcribes 140 s of noise, in which these are the parts with speech."""
    answers: Iterator[DecodedWindow] | None = iter(script) if isinstance(script, list) else None

    def answer(_request: DecodeRequest) -> DecodedWindow:
        return next(answers) if answers is not None else script  # type: ignore[return-value]

    implementation = ScriptedImplementation(answer)
    implementation.dims = replace(TINY_EN, n_vocab=n_vocab)
    mel = noise_mel()
    mel.speech = speech
    n_rows = int(options.batch_size)
    transcription = start_run(implementation, mel, options, is_cut=n_rows > 1)
    progress = [part.progress for part in parts(implementation, transcription, n_rows)]
    return transcription.transcript, implementation, progress


@cache
def noise_mel() -> MelSpectrogram:
    """The frames of 140 s of noise, made once."""
    noise = np.random.default_rng(0).normal(0, 0.1, 140 * 16000).astype(np.float32)
    return MelSpectrogram([noise], 80)


def n_frames(mel: np.ndarray) -> int:
    """Mel frames of audio in a window; what comes after them is zero."""
    return int(np.flatnonzero(mel[0].any(axis=0))[-1]) + 1


def test_windows_hold_speech_only_and_times_are_those_of_the_file() -> None:
    script = [say(" One.", 5), say(" Two.", 3), say(" Three.", 30), say(" Four.", 15)]
    transcript, implementation, progress = run(SPEECH, script)
    assert [n_frames(mel) for mel in implementation.windows] == [500, 300, 3000, 1500]
    assert [(s.seek, s.start, s.end, s.text) for s in transcript.segments] == [
        (500, 5.0, 10.0, " One."),
        (2000, 20.0, 23.0, " Two."),
        (8000, 80.0, 110.0, " Three."),
        (11000, 110.0, 125.0, " Four."),
    ]
    assert transcript.duration_seconds == 140.0
    assert transcript.speech_seconds == 53.0
    assert transcript.warnings == ()
    assert [each.done_seconds for each in progress] == [0, 10, 23, 110, 125]


def test_text_before_a_pause_prompts_the_window_after_it() -> None:
    script = [say(" One.", 5), say(" Two.", 3), say(" Three.", 30), say(" Four.", 15)]
    _, implementation, _ = run(SPEECH, script)
    prompts = [request.prompt[: request.sot_index] for request in implementation.requests]
    assert prompts[0] == ()
    for prompt, texts in zip(prompts[1:], (["One"], ["One", "Two"], ["Two", "Three"]), strict=True):
        assert prompt[0] == TOKENIZER.sot_prev
        assert all(text in TOKENIZER.decode(list(prompt)) for text in texts)


def test_the_prefix_is_before_the_first_speech() -> None:
    options = replace(OPTIONS, prefix="Well")
    _, implementation, _ = run(SPEECH[:2], say(" One.", 3), options)
    assert [request.n_given > 0 for request in implementation.requests] == [True, False]


def test_clips_of_the_user_hold_too() -> None:
    options = replace(OPTIONS, clip_timestamps=(7.0, 21.0))
    transcript, implementation, _ = run(SPEECH, say(" One.", 1), options)
    assert [n_frames(mel) for mel in implementation.windows] == [300, 100]
    assert [segment.start for segment in transcript.segments] == [7.0, 20.0]


def test_segments_end_with_the_speech() -> None:
    """A window of 5 s of speech is filled up to 30 s with silence, where timestamps may lie."""
    transcript, _, _ = run(SPEECH, say(" One.", 29))
    assert [(s.start, s.end) for s in transcript.segments] == [
        (5.0, 10.0),
        (20.0, 23.0),
        (80.0, 109.0),
        (110.0, 125.0),
    ]
    options = replace(OPTIONS, vad=None, clip_timestamps=(5.0, 10.0))
    transcript, _, _ = run(None, say(" One.", 29), options)
    assert [(s.start, s.end) for s in transcript.segments] == [(5.0, 34.0)]  # as upstream


def test_clips_without_speech() -> None:
    transcript, implementation, _ = run(SPEECH, [], replace(OPTIONS, clip_timestamps=(11.0, 19.0)))
    assert implementation.windows == []
    assert transcript.speech_seconds == 0
    assert transcript.warnings == ("no speech was found, so that nothing was decoded",)


def test_rows_hold_speech_only() -> None:
    options = replace(OPTIONS, batch_size=4)
    transcript, implementation, progress = run(SPEECH, say(" One.", 3), options)
    (cut,) = set(transcript.cut_seconds) - {20.0, 80.0}  # in the speech of 45 s
    assert 100 <= cut <= 110
    lengths = [n_frames(mel) / 100 for mel in implementation.windows]
    assert lengths == pytest.approx([5, 3, cut - 80, 125 - cut])
    assert [segment.start for segment in transcript.segments] == [5.0, 20.0, 80.0, cut]
    assert transcript.speech_seconds == 53.0
    assert [each.done_seconds for each in progress] == [0, 10, 23, cut, 125]


@pytest.mark.parametrize("batch_size", [1, 4])
def test_without_speech_nothing_is_computed(batch_size: int) -> None:
    options = replace(OPTIONS, batch_size=batch_size)
    transcript, implementation, _ = run((), [], options, n_vocab=51865)
    assert (transcript.text, transcript.segments) == ("", ())
    assert transcript.speech_seconds == 0
    assert transcript.warnings == ("no speech was found, so that nothing was decoded",)
    assert transcript.language_probability is None
    assert implementation.windows == implementation.requests == []


def test_without_detection_all_is_decoded() -> None:
    transcript, implementation, _ = run(None, say(" One.", 30), replace(OPTIONS, vad=None))
    assert len(implementation.windows) == 5
    assert transcript.speech_seconds is None


@pytest.mark.parametrize(
    ("speech", "n_segments", "starts"),
    [
        (None, 1, [0]),
        (None, 3, [0, 3000, 6000]),
        (None, 9, [0, 3000, 6000, 9000, 12000]),
        (SPEECH, 1, [500]),
        (SPEECH, 3, [500, 8000, 11000]),
    ],
)
def test_windows_that_decide_on_the_language(
    monkeypatch: pytest.MonkeyPatch,
    speech: tuple[Clip, ...] | None,
    n_segments: int,
    starts: list[int],
) -> None:
    seen: list[np.ndarray] = []

    def detect(_impl: object, windows: Iterable[AudioFeatures], *_: object) -> DetectedLanguage:
        for features in windows:
            assert isinstance(features, ScriptedFeatures)
            seen.extend(features.mel)
        return DetectedLanguage("es", 0.9)

    monkeypatch.setattr(recording_language, "detect_language", detect)
    begin = MULTILINGUAL.timestamp_begin
    answer = window([begin, *MULTILINGUAL.encode(" Uno."), begin + 1500])
    options = replace(OPTIONS, language_detection_segments=n_segments)
    transcript, _, _ = run(speech, answer, options, n_vocab=51865)
    assert transcript.language == "es"
    expected = [noise_mel().window(start, 3000) for start in starts]
    assert len(seen) == len(expected)
    assert all(np.array_equal(a, b) for a, b in zip(seen, expected, strict=True))


@pytest.mark.parametrize(
    ("speech", "clips", "n_encoded"),
    [
        (None, (0.0,), 5),  # 30, 30, 30, 30 and 20 s, of which the first decided on the language
        (None, (1.0,), 1 + 5),
        (((0, 14000),), (0.0,), 5),
        (((500, 1000),), (0.0,), 1 + 1),  # 5 s of speech: silence follows them, and zeros
    ],
)
def test_the_window_of_the_language_is_encoded_once(
    monkeypatch: pytest.MonkeyPatch,
    speech: tuple[Clip, ...] | None,
    clips: tuple[float, ...],
    n_encoded: int,
) -> None:
    def detect(_impl: object, windows: Iterable[AudioFeatures], *_: object) -> DetectedLanguage:
        assert len(list(windows)) == 1
        return DetectedLanguage("es", 0.9)

    monkeypatch.setattr(recording_language, "detect_language", detect)
    begin = MULTILINGUAL.timestamp_begin
    answer = window([begin, *MULTILINGUAL.encode(" Uno."), begin + 1500])
    options = replace(OPTIONS, clip_timestamps=clips)
    _, implementation, _ = run(speech, answer, options, n_vocab=51865)
    assert len(implementation.windows) == n_encoded
    expected = noise_mel().padded_window(round(clips[0] * 100) if speech is None else speech[0][0])
    shown = implementation.windows[n_encoded - 5 if speech is None else 0][0]
    assert speech == ((500, 1000),) or np.array_equal(shown, expected)


def test_the_mean_of_the_windows_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = list(MULTILINGUAL.all_language_codes)
    windows = [{"en": 0.6, "es": 0.4}, {"en": 0.1, "es": 0.5, "fr": 0.4}, {"en": 0.5, "es": 0.5}]
    answers = iter(windows)

    def probabilities(*_: object) -> np.ndarray:
        found = next(answers)
        return np.array([found.get(code, 0.0) for code in codes])

    monkeypatch.setattr("maxwhisper_cli.transcription.language_id._probabilities", probabilities)
    features = [ScriptedFeatures(np.zeros((1, 80, 3000), np.float32))] * 3
    detected = detect_language(ScriptedImplementation(lambda _: window([])), features, MULTILINGUAL)
    assert detected.code == "es"
    assert detected.probability == pytest.approx(1.4 / 3)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"threshold": 1.5}, "vad threshold must be from 0 to 1"),
        ({"threshold": "high"}, "vad threshold must be a number"),
        ({"threshold": 0.3, "neg_threshold": 0.4}, "must not be above threshold"),
        ({"min_silence_ms": -1}, "vad min_silence_ms must be from 0"),
        ({"min_speech_ms": 0.5}, "vad min_speech_ms must be a whole number"),
        ({"max_speech_s": 1.0}, r"max_speech_s must be at least 1\.8"),
    ],
)
def test_options_are_checked(values: dict[str, object], reason: str) -> None:
    with pytest.raises(OptionsError, match=reason):
        VadOptions(**values)  # type: ignore[arg-type]


def test_thresholds() -> None:
    assert VadOptions().end_threshold == pytest.approx(0.25)
    assert VadOptions(threshold=0.1).end_threshold == 0.01
    assert VadOptions(neg_threshold=0.2).end_threshold == 0.2


def test_vad_is_no_switch_in_python() -> None:
    with pytest.raises(OptionsError, match="vad must be VadOptions, not True"):
        TranscribeOptions(vad=True)  # type: ignore[arg-type]
