"""Words and their times from an alignment: openai-whisper's, on generated input."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import whisper
from whisper import timing
from whisper.model import ModelDimensions as WhisperDimensions

from implementations.alignment import AlignmentRequest, align_text
from implementations.session import Alignment
from implementations.torch_model.session import cross_attention
from maxwhisper_cli.transcription.options import APPENDED, PREPENDED
from maxwhisper_cli.transcription.segments import Segment
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from maxwhisper_cli.transcription.words import (
    SpelledText,
    TimedWord,
    add_words,
    merge_punctuations,
)

TOKENIZER = get_tokenizer(False)
EOT = TOKENIZER.eot
PIECES = (
    " word",
    " so",
    "ing",
    " ",
    "",
    '"',
    ' "',
    ".",
    ",",
    " (",
    ")",
    " ¿",
    "?",
    "。",
    "! ",
    " -",
)
"""Words and marks as tokens decode to them, with the odd ones: blank, empty, ending in a space."""
MARKS = [(PREPENDED, APPENDED), ("", ""), ("( ", ". "), (" -", " ,")]
TEXTS = {
    "en": ' He said, "No: we can\'t (yet)!" - and left...',
    "es": " ¿Dónde está? «Aquí», dijo — señor Ñandú.",
    "ja": "はい、わかりました。「東京」へ行きます!",
    "zh": "你好，世界。𠮷野家",  # noqa: RUF001
    "th": "สวัสดีครับ",
    "ru": " Да, конечно... 🙂 Ещё!",
}


def random_words(random: np.random.Generator, n_words: int) -> list[TimedWord]:
    """Consecutive words at multiples of 20 ms; many last for no time, and some for long."""
    steps = random.choice([0, 1, 5, 15, 40, 200], n_words, p=[0.2, 0.2, 0.2, 0.2, 0.1, 0.1])
    ends = np.cumsum(steps)
    return [
        TimedWord(
            word=str(random.choice(PIECES)),
            tokens=[int(token) for token in random.integers(0, EOT, random.integers(1, 4))],
            start=float(end - step) / 50.0,
            end=float(end) / 50.0,
            probability=float(random.random()),
        )
        for step, end in zip(steps, ends, strict=True)
    ]


def theirs(words: list[TimedWord]) -> list[timing.WordTiming]:
    return [timing.WordTiming(w.word, list(w.tokens), w.start, w.end, w.probability) for w in words]


@pytest.mark.parametrize("marks", MARKS, ids=["default", "none", "with spaces", "other"])
def test_punctuation_is_merged_as_upstream_does(marks: tuple[str, str]) -> None:
    random = np.random.default_rng(5)
    for _ in range(300):
        words = random_words(random, int(random.integers(0, 12)))
        expected = theirs(words)
        timing.merge_punctuations(expected, *marks)
        merge_punctuations(words, *marks)
        assert [(w.word, w.tokens) for w in words] == [(w.word, w.tokens) for w in expected]


def random_segments(random: np.random.Generator, words: list[TimedWord]) -> list[Segment]:
    """Segments whose tokens are those of the words, with cuts anywhere and times of their own."""
    tokens = [token for word in words for token in word.tokens]
    n_cuts = int(random.integers(0, 4))
    cuts = [0, *sorted(random.integers(0, len(tokens) + 1, n_cuts).tolist()), len(tokens)]
    times = np.sort(random.integers(0, 1500, len(cuts)) / 50)
    seek = int(random.choice([0, 57, 2999, 123457]))
    blank = Segment(0, seek, 0.0, 0.0, "text", (), 0.0, -0.1, 1.0, 0.1)
    return [
        replace(
            blank,
            start=seek / 100 + float(start),
            end=seek / 100 + float(end),
            tokens=(EOT + 107, *tokens[first:after], EOT + 107 + 5),
        )
        for first, after, start, end in zip(cuts, cuts[1:], times, times[1:], strict=False)
    ]


def test_words_and_times_of_segments_are_upstreams(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(11)
    n_drawn = 0
    for _ in range(500):
        words = random_words(random, int(random.integers(0, 25)))
        segments = random_segments(random, words)
        last_speech = segments[0].seek / 100 - float(random.choice([0, 0.5, 20]))
        aligned = theirs(words)
        monkeypatch.setattr(timing, "find_alignment", lambda *_, found=aligned, **__: found)
        expected: list[dict[str, Any]] = [
            {"seek": s.seek, "start": s.start, "end": s.end, "tokens": list(s.tokens)}
            for s in segments
        ]
        timing.add_word_timestamps(
            segments=expected,
            model=None,
            tokenizer=TOKENIZER,
            mel=None,
            num_frames=3000,
            last_speech_timestamp=last_speech,
        )
        timed = add_words(segments, words, (PREPENDED, APPENDED), EOT, last_speech)
        for mine, reference in zip(timed, expected, strict=True):
            assert (mine.start, mine.end) == (reference["start"], reference["end"])
            assert mine.words is not None
            given = [(w.word, w.start, w.end, w.probability) for w in mine.words]
            assert given == [tuple(word.values()) for word in reference["words"]]
        n_drawn += sum(
            mine.start != before.start for mine, before in zip(timed, segments, strict=True)
        )
    assert n_drawn > 100  # or the input would try nothing


@pytest.fixture(scope="module")
def model() -> whisper.Whisper:
    """A small multilingual model of random weights."""
    torch.manual_seed(3)
    model = whisper.Whisper(WhisperDimensions(80, 1500, 16, 2, 1, 51865, 448, 16, 2, 2)).eval()
    # openai-whisper leaves positions as memory had them, which may be NaN.
    torch.nn.init.normal_(model.decoder.positional_embedding)
    return model


@pytest.mark.parametrize("language", TEXTS)
def test_tokens_become_upstreams_words(model: whisper.Whisper, language: str) -> None:
    tokenizer = get_tokenizer(True, language=language)
    text = tokenizer.encode(TEXTS[language])[:-1]  # the last character may be incomplete
    mel, heads = torch.randn(80, 3000), [(1, 0), (1, 1)]
    for n_frames in (3000, 20):
        expected = timing.find_alignment(model, tokenizer, text, mel, n_frames)
        request = AlignmentRequest(
            tokenizer.sot_sequence,
            tokenizer.no_timestamps,
            tuple(text),
            tokenizer.eot,
            n_frames // 2,
            heads,
        )
        with torch.inference_mode():
            features = model.encoder(mel[None])
        scores, logits = cross_attention(model, features, request.tokens, heads)
        aligned = align_text(Alignment(scores.numpy(), logits.numpy()), request)
        words = SpelledText(text, tokenizer).timed(aligned, 50)
        assert [(w.word, w.tokens) for w in words] == [(w.word, w.tokens) for w in expected]
        assert [(w.start, w.end) for w in words] == [(w.start, w.end) for w in expected]
        np.testing.assert_allclose(
            [w.probability for w in words], [w.probability for w in expected], rtol=1e-4
        )


def test_no_text_has_no_words() -> None:
    assert add_words([], [], (PREPENDED, APPENDED), EOT, 0.0) == []
