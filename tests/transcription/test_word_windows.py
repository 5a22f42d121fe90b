"""Windows with words: where each begins, what is left out; openai-whisper's, on scripted decoding.

Both sides get the same random decodings, and the same random times and probabilities of tokens. So
openai-whisper's own loop runs with its rules for silence and invented text, without any model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import whisper
from whisper import timing
from whisper.decoding import DecodingResult

from implementations.alignment import AlignmentRequest, TokenAlignment
from implementations.request import DecodedWindow
from implementations.session import AudioFeatures
from maxwhisper_cli.transcription.longform import TranscriptionRun
from maxwhisper_cli.transcription.mel import MelSpectrogram
from maxwhisper_cli.transcription.options import OptionsError, TranscribeOptions
from maxwhisper_cli.transcription.segments import Transcript
from maxwhisper_cli.transcription.speakers import start_run
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from tests.support.driving import parts
from tests.support.scripted import BEGIN, TINY_EN, Script, ScriptedImplementation, window

TOKENIZER = get_tokenizer(False)
OPTIONS = TranscribeOptions(temperatures=(0.0,), word_timestamps=True)
SECONDS = 100
CLIPS = ("0", "3,40,50,99", "20")
TEXTS = (" A word.", " It is so,", " no", " and", " (laughs)", " well - yes!", " .", " ")


def random_window(random: np.random.Generator) -> DecodedWindow:
    """Segments of a few words; some windows are silent, some improbable, some are cut off."""
    tokens: list[int] = []
    at = int(random.integers(0, 100))
    for _ in range(random.integers(1, 5)):
        text = "".join(random.choice(TEXTS, random.integers(1, 4)))
        end = min(1500, at + int(random.choice([0, 30, 150, 500])))
        tokens += [BEGIN + at, *TOKENIZER.encode(text), BEGIN + end]
        at = end
    kind = random.choice(["closed", "open", "single"])
    tokens += {"closed": [BEGIN + at], "open": [BEGIN + at, 40], "single": []}[str(kind)]
    silent = random.random() < 0.1
    return window(
        tokens,
        avg_logprob=-2.0 if silent else -0.3,
        no_speech_prob=0.9 if silent else 0.1,
    )


class Answers:
    """Decodings by number, and alignments by number and text, the same for both sides."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.n_decoded = 0

    def decode(self) -> DecodedWindow:
        self.n_decoded += 1
        return random_window(np.random.default_rng((self.seed, self.n_decoded)))

    def align(self, text: Sequence[int], n_positions: int) -> TokenAlignment:
        random = np.random.default_rng((self.seed, self.n_decoded, len(text)))
        kind = random.choice(["even", "early", "late"])
        highest = {"even": n_positions, "early": 150, "late": n_positions}[str(kind)]
        lowest = {"even": 0, "early": 0, "late": 900}[str(kind)]
        positions = np.sort(random.integers(min(lowest, highest - 1), highest, len(text) + 1))
        likely = random.choice([0.05, 0.9])
        return TokenAlignment(positions, np.full(len(text), likely, np.float32))


class Aligning(ScriptedImplementation):
    """Scripted implementation that aligns as the answers say."""

    def __init__(self, answers: Answers) -> None:
        super().__init__(lambda _request: answers.decode())
        self.answers = answers
        self.aligned: list[AlignmentRequest] = []

    def align_batch(
        self, audio_features: AudioFeatures, requests: Sequence[AlignmentRequest]
    ) -> list[TokenAlignment]:
        assert len(audio_features) == len(requests)
        self.aligned += requests
        return [self.answers.align(each.text, each.n_positions) for each in requests]


class WhisperModel:
    """The part of openai-whisper's model that its `transcribe` asks for."""

    device = torch.device("cpu")
    is_multilingual = False
    num_languages = 99
    dims = SimpleNamespace(n_mels=80, n_audio_ctx=1500, n_text_ctx=448)

    def __init__(self, answers: Answers) -> None:
        self.answers = answers

    def decode(self, mel: torch.Tensor, options: Any) -> DecodingResult:
        decoded = self.answers.decode()
        return DecodingResult(
            audio_features=mel,
            language="en",
            tokens=list(decoded.tokens),
            avg_logprob=decoded.avg_logprob,
            no_speech_prob=decoded.no_speech_prob,
            temperature=0.0,
            compression_ratio=1.0,
        )


def find_alignment(
    model: WhisperModel, tokenizer: Any, text: list[int], mel: Any, n_frames: int
) -> list[timing.WordTiming]:
    """Openai-whisper's end of the function of this name, for given times of tokens."""
    if not text:
        return []
    aligned = model.answers.align(text, n_frames // 2)
    words, word_tokens = tokenizer.split_to_word_tokens([*text, tokenizer.eot])
    bounds = np.pad(np.cumsum([len(each) for each in word_tokens[:-1]]), (1, 0))
    is_single = n_frames // 2 <= 1  # its path is left of the only position; see test_alignment
    seconds = (aligned.positions - is_single) / 50
    return [
        timing.WordTiming(
            word, tokens, seconds[first], seconds[after], aligned.probabilities[first]
        )
        for word, tokens, first, after in zip(words, word_tokens, bounds, bounds[1:], strict=False)
    ]


@pytest.fixture(scope="module")
def mel() -> Iterator[MelSpectrogram]:
    noise = np.random.default_rng(0).normal(0, 0.1, SECONDS * 16000).astype(np.float32)
    with MelSpectrogram([noise], 80) as spectrogram:
        yield spectrogram


def run(mel: MelSpectrogram, seed: int, options: TranscribeOptions) -> Transcript:
    implementation = Aligning(Answers(seed))
    transcription = TranscriptionRun(implementation, mel, options)
    for _ in parts(implementation, transcription):
        pass
    return transcription.transcript


@pytest.mark.parametrize("clips", CLIPS)
@pytest.mark.parametrize("threshold", [None, 0.3, 2.0])
def test_windows_are_upstreams(
    monkeypatch: pytest.MonkeyPatch, mel: MelSpectrogram, threshold: float | None, clips: str
) -> None:
    frames = torch.zeros(80, SECONDS * 100 + 3000)
    monkeypatch.setattr(timing, "find_alignment", find_alignment)
    monkeypatch.setitem(
        whisper.transcribe.__globals__, "log_mel_spectrogram", lambda *_, **__: frames
    )
    options = replace(OPTIONS, clip_timestamps=tuple(float(at) for at in clips.split(",")))
    n_changed = 0
    for seed in range(40):
        ours = run(mel, seed, replace(options, hallucination_silence_threshold=threshold))
        theirs = whisper.transcribe(
            WhisperModel(Answers(seed)),
            np.zeros(1, np.float32),
            temperature=0.0,
            fp16=False,
            word_timestamps=True,
            hallucination_silence_threshold=threshold,
            clip_timestamps=clips,
        )
        assert_equal(ours, theirs)
        n_changed += ours != run(mel, seed, options)
    assert (n_changed > 10) == (threshold is not None)  # or the rules would have had nothing to do


def assert_equal(ours: Transcript, theirs: dict[str, Any]) -> None:
    assert ours.text == theirs["text"]
    for mine, reference in zip(ours.segments, theirs["segments"], strict=True):
        for field in ("id", "seek", "start", "end", "text"):
            assert getattr(mine, field) == reference[field], field
        assert list(mine.tokens) == reference["tokens"]
        assert mine.words is not None
        given = [(w.word, w.start, w.end, w.probability) for w in mine.words]
        assert given == [tuple(word.values()) for word in reference["words"]]


def test_cleared_segments_have_no_words_and_others_keep_within_the_audio() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 5 * 16000).astype(np.float32)
    with MelSpectrogram([noise], 80) as short:
        found = run(short, 1, replace(OPTIONS, clamp_timestamps=True))
    assert all(each.end <= 5.0 for each in found.segments)
    assert all(word.end <= 5.0 for each in found.segments for word in each.words or ())
    assert all((each.words == ()) == (each.text == "") for each in found.segments)


def test_without_words_nothing_is_aligned(mel: MelSpectrogram) -> None:
    found = run(mel, 0, replace(OPTIONS, word_timestamps=False))
    assert {each.words for each in found.segments} == {None}


def test_windows_of_a_batch_are_aligned_together(mel: MelSpectrogram) -> None:
    """Windows without text are not aligned."""
    silent = window([BEGIN, 40], avg_logprob=-2.0, no_speech_prob=0.9)
    spoken = window([BEGIN, *TOKENIZER.encode(" A word."), BEGIN + 900, BEGIN + 900])
    answers = Answers(0)
    implementation = Aligning(answers)
    implementation.script = cycle_of([spoken, silent])
    options = replace(OPTIONS, batch_size=2, clip_timestamps=(0.0, 25.0, 50.0, 75.0))
    run_ = start_run(implementation, mel, options, is_cut=True)
    for _ in parts(implementation, run_, n_rows=2):
        pass
    text = tuple(TOKENIZER.encode(" A word."))
    assert {each.text for each in implementation.aligned} == {text}
    assert {each.text for each in run_.transcript.segments} <= {" A word.", ""}


def cycle_of(windows: list[DecodedWindow]) -> Script:
    following = cycle(windows)
    return lambda _request: next(following)


def test_a_text_longer_than_the_decoder_is_cut(mel: MelSpectrogram) -> None:
    implementation = Aligning(Answers(0))
    implementation.script = lambda _request: window([BEGIN, *[50] * 447])
    timed = TranscriptionRun(implementation, mel, OPTIONS)
    next(part for part in parts(implementation, timed) if part.segments)
    assert len(implementation.aligned[0].tokens) == TINY_EN.n_text_ctx
    assert timed.transcript.segments[0].words is not None


@pytest.mark.parametrize("heads", [((4, 0),), ((0, 0), (3, 6))])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_heads_that_the_model_lacks_are_refused(
    mel: MelSpectrogram, heads: tuple[tuple[int, int], ...], batch_size: int
) -> None:
    options = replace(OPTIONS, alignment_heads=heads, batch_size=batch_size)
    with pytest.raises(OptionsError, match=r"layers 0 to 3 with heads 0 to 5 each"):
        start_run(Aligning(Answers(0)), mel, options)


def test_given_heads_are_used(mel: MelSpectrogram) -> None:
    implementation = Aligning(Answers(0))
    timed = TranscriptionRun(implementation, mel, replace(OPTIONS, alignment_heads=((3, 5),)))
    next(part for part in parts(implementation, timed) if part.segments)
    assert list(implementation.aligned[0].heads) == [(3, 5)]


def test_a_model_without_heads_is_refused(
    monkeypatch: pytest.MonkeyPatch, mel: MelSpectrogram
) -> None:
    implementation = Aligning(Answers(0))
    monkeypatch.setattr(implementation, "alignment_heads", ())
    with pytest.raises(OptionsError, match="no alignment heads are known"):
        TranscriptionRun(implementation, mel, OPTIONS)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"hallucination_silence_threshold": 2.0}, "hallucination_silence_threshold has no effect"),
        ({"alignment_heads": ((0, 0),)}, "alignment_heads has no effect"),
    ],
)
def test_options_that_need_words_are_warned_of(
    mel: MelSpectrogram, changes: dict[str, Any], expected: str
) -> None:
    with_words = run(mel, 0, replace(OPTIONS, **changes))
    assert with_words.warnings == ()
    without = run(mel, 0, replace(OPTIONS, word_timestamps=False, **changes))
    assert expected in without.warnings[0]
