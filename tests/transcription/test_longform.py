"""The sliding window: what each window is shown, where the next one begins, what comes out."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from implementations.request import DecodedWindow, DecodeRequest
from maxwhisper_cli.transcription.longform import TranscriptionRun
from maxwhisper_cli.transcription.mel import MelSpectrogram
from maxwhisper_cli.transcription.options import OptionsError, TranscribeOptions
from maxwhisper_cli.transcription.segments import Transcript
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from tests.support.driving import parts
from tests.support.scripted import BEGIN, ScriptedImplementation, window

TOKENIZER = get_tokenizer(False)
OPTIONS = TranscribeOptions(temperatures=(0.0, 1.0))
SOT_PREV = TOKENIZER.sot_prev


def say(text: str, end_seconds: float) -> list[int]:
    """A closed segment from the window's beginning."""
    end = BEGIN + round(end_seconds / 0.02)
    return [BEGIN, *TOKENIZER.encode(text), end, end]


def run(
    script: list[DecodedWindow] | DecodedWindow,
    seconds: float,
    options: TranscribeOptions = OPTIONS,
) -> tuple[Transcript, ScriptedImplementation]:
    answers: Iterator[DecodedWindow] | None = iter(script) if isinstance(script, list) else None

    def answer(_request: DecodeRequest) -> DecodedWindow:
        return next(answers) if answers is not None else script  # type: ignore[return-value]

    implementation = ScriptedImplementation(answer)
    noise = np.random.default_rng(0).normal(0, 0.1, round(seconds * 16000)).astype(np.float32)
    with MelSpectrogram([noise], 80) as mel:
        transcription = TranscriptionRun(implementation, mel, options)
        for _ in parts(implementation, transcription):
            pass
        return transcription.transcript, implementation


def test_next_window_begins_where_the_last_segment_ended() -> None:
    transcript, implementation = run([window(say(" One.", 24)), window(say(" Two.", 16))], 40)
    assert [(s.id, s.seek, s.start, s.end) for s in transcript.segments] == [
        (0, 0, 0.0, 24.0),
        (1, 2400, 24.0, 40.0),
    ]
    assert transcript.text == " One. Two."
    assert transcript.duration_seconds == 40.0
    # The second window holds 16 s; the rest of it is zero in mel space, not silence.
    assert not implementation.windows[1][0, :, 1600:].any()
    assert implementation.windows[1][0, :, :1600].all()


def test_previous_text_is_the_prompt() -> None:
    first = say(" One.", 24)
    _, implementation = run([window(first), window(say(" Two.", 16))], 40)
    prompts = [r.prompt for r in implementation.requests]
    assert prompts[0] == TOKENIZER.sot_sequence
    assert prompts[1] == (SOT_PREV, *first[:-1], *TOKENIZER.sot_sequence)
    assert implementation.requests[1].sot_index == len(first)


def test_previous_text_is_left_out_where_so_asked() -> None:
    options = replace(OPTIONS, condition_on_previous_text=False)
    _, implementation = run([window(say(" One.", 24)), window(say(" Two.", 16))], 40, options)
    assert implementation.requests[1].prompt == TOKENIZER.sot_sequence


def test_text_sampled_hot_is_not_a_prompt() -> None:
    bad = window(say(" One.", 24), avg_logprob=-2.0)
    _, implementation = run([bad, bad, window(say(" Two.", 16))], 40)
    assert implementation.requests[2].prompt == TOKENIZER.sot_sequence


def test_initial_prompt_comes_first_and_is_not_text() -> None:
    options = replace(OPTIONS, initial_prompt="Names: Ada.")
    transcript, implementation = run(
        [window(say(" One.", 24)), window(say(" Two.", 16))], 40, options
    )
    names = tuple(TOKENIZER.encode(" Names: Ada."))
    assert implementation.requests[0].prompt == (SOT_PREV, *names, *TOKENIZER.sot_sequence)
    assert implementation.requests[1].prompt[1 : 1 + len(names)] == names
    assert transcript.text == " One. Two."


def test_carried_prompt_stays_when_the_text_is_reset() -> None:
    options = replace(
        OPTIONS,
        initial_prompt="Names.",
        carry_initial_prompt=True,
        condition_on_previous_text=False,
    )
    _, implementation = run([window(say(" One.", 24)), window(say(" Two.", 16))], 40, options)
    names = tuple(TOKENIZER.encode(" Names."))
    for request in implementation.requests:
        assert request.prompt == (SOT_PREV, *names, *TOKENIZER.sot_sequence)


def test_silent_windows_are_skipped_whole() -> None:
    silent = window(say(" Thanks.", 5), avg_logprob=-2.0, no_speech_prob=0.9)
    transcript, implementation = run([silent, window(say(" Two.", 10))], 40)
    assert [(s.start, s.text) for s in transcript.segments] == [(30.0, " Two.")]
    assert len(implementation.requests) == 2


def test_only_clips_are_transcribed() -> None:
    options = replace(OPTIONS, clip_timestamps=(5.0, 12.0, 20.0, 90.0))
    answers = [window([BEGIN, 40]), window([BEGIN, 41])]
    transcript, implementation = run(answers, 40, options)
    assert [(s.seek, s.start, s.end) for s in transcript.segments] == [
        (500, 5.0, 12.0),
        (2000, 20.0, 40.0),
    ]
    assert not implementation.windows[0][0, :, 700:].any()


def test_segments_without_text_stay_empty() -> None:
    blank = [BEGIN, 220, BEGIN + 500, BEGIN + 500]
    transcript, _ = run([window(blank), window(say(" Two.", 10))], 20)
    assert [(s.id, s.text, s.tokens == ()) for s in transcript.segments] == [
        (0, "", True),
        (1, " Two.", False),
    ]
    assert transcript.text == " Two."


def test_no_audio_gives_no_text() -> None:
    transcript, implementation = run([], 0)
    assert (transcript.text, transcript.segments, implementation.requests) == ("", (), [])


def test_a_special_token_in_a_prompt_is_refused() -> None:
    with pytest.raises(OptionsError, match="special token"):
        run([], 1, replace(OPTIONS, initial_prompt="a <|endoftext|> b"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperatures": ()}, "temperatures"),
        ({"beam_size": 0}, "beam_size"),
        ({"beam_size": None, "patience": 2.0}, "patience"),
        ({"beam_size": 5, "patience": 0.01}, "patience"),
        ({"length_penalty": 1.5}, "length_penalty"),
        ({"carry_initial_prompt": True}, "initial_prompt"),
        ({"clip_timestamps": (4.0, 2.0)}, "clip_timestamps"),
        ({"clip_timestamps": (-1.0,)}, "clip_timestamps"),
        ({"sample_len": 0}, "sample_len"),
        ({"seed": -1}, "seed"),
    ],
)
def test_contradictory_options_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        replace(OPTIONS, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"suppress_tokens": (99999,)}, "99999"), ({"prefix": "word " * 300}, "prefix")],
)
def test_options_that_do_not_fit_the_model_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionsError, match=message):
        run([], 1, replace(OPTIONS, **changes))
