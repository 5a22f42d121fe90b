"""One window's decoding with unusual options, against whisper.decode on real speech.

The default options are covered by whole recordings; here it is patience, penalties, prompts
and token rules, each of which changes what is decoded or at least what is kept.
"""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import whisper

from implementations.session import AudioFeatures
from maxwhisper_cli.transcription.fallback import WindowText, decode_with_fallback
from maxwhisper_cli.transcription.mel import MelSpectrogram
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from maxwhisper_cli.transcription.window_request import RequestBuilder, encode_text
from tests.support import loaded, references
from tests.support.driving import finish

PROMPT = "The inaugural address of the President"


SECONDS = 10
"""Seconds of a recording: a window of speech and silence after it."""


@cache
def our_features(path: Path) -> AudioFeatures:
    model = loaded.model("tiny.en", "cpu").implementation
    with MelSpectrogram([loaded.samples_of(path, SECONDS)], model.dims.n_mels) as mel:
        return model.encode(mel.padded_window(0, mel.n_content_frames)[None])


def decode_ours(path: Path, options: TranscribeOptions, prompt: str = "") -> WindowText:
    model = loaded.model("tiny.en", "cpu").implementation
    tokenizer = get_tokenizer(False)
    builder = RequestBuilder.create(model.dims, options, tokenizer)
    previous = encode_text(tokenizer, prompt, "the prompt") if prompt else ()
    return finish(model, decode_with_fallback(our_features(path), builder, previous, seek=0))


@cache
def their_features(path: Path) -> torch.Tensor:
    """Returns what `whisper.decode` takes in place of the mel."""
    samples = loaded.samples_of(path, SECONDS)
    mel = whisper.log_mel_spectrogram(samples, padding=whisper.audio.N_SAMPLES)
    n_content = mel.shape[-1] - whisper.audio.N_FRAMES
    window = whisper.pad_or_trim(mel[:, : min(n_content, 3000)], whisper.audio.N_FRAMES)
    with torch.inference_mode():
        return loaded.whisper_model("tiny.en").encoder(window[None])[0]


def decode_theirs(path: Path, **options: Any) -> dict[str, Any]:
    samples = loaded.samples_of(path, SECONDS)

    def compute() -> dict[str, Any]:
        model = loaded.whisper_model("tiny.en")
        chosen = whisper.DecodingOptions(fp16=False, language="en", **options)
        with torch.inference_mode(), loaded.whisper_may_warn():
            result = whisper.decode(model, their_features(path), chosen)
        return {name: getattr(result, name) for name in ("tokens", "avg_logprob", "no_speech_prob")}

    weights = loaded.checkpoint("tiny.en")
    return references.kept(compute, weights, samples, call="decode", **options)


@pytest.mark.parametrize(
    "options",
    [
        {"beam_size": 3, "patience": 2.0},
        {"beam_size": 2, "length_penalty": 1.0},
        {"beam_size": 4, "patience": 0.5},
        {"without_timestamps": True},
        {"without_timestamps": True, "beam_size": 2, "length_penalty": 0.3},
        {"suppress_blank": False},
        {"max_initial_timestamp": None},
        {"max_initial_timestamp": 0.1},
        {"sample_len": 7},
        {"prompt": PROMPT},
        {"prompt": " ".join([PROMPT] * 60), "beam_size": 2},
    ],
    ids=lambda options: "-".join(f"{k}={str(v)[:8]}" for k, v in options.items()),
)
def test_same_tokens(sonnet: Path, options: dict[str, Any]) -> None:
    prompt = options.get("prompt", "")
    ours_options = {k: v for k, v in options.items() if k != "prompt"}
    ours_options.setdefault("beam_size", None)
    ours = decode_ours(sonnet, TranscribeOptions(temperatures=(0.0,), **ours_options), prompt)
    theirs = decode_theirs(sonnet, **options)
    assert list(ours.tokens) == theirs["tokens"]
    for name in ("avg_logprob", "no_speech_prob"):
        assert getattr(ours, name) == pytest.approx(theirs[name], abs=1e-3)


@pytest.mark.parametrize(
    ("ours", "theirs"), [((), ""), ((11, 13), [11, 13]), ((-1,), "-1"), ((-1, 13), [-1, 13])]
)
def test_suppressed_tokens(jfk: Path, ours: tuple[int, ...], theirs: Any) -> None:
    options = TranscribeOptions(temperatures=(0.0,), beam_size=None, suppress_tokens=ours)
    decoded = decode_ours(jfk, options)
    assert list(decoded.tokens) == decode_theirs(jfk, suppress_tokens=theirs)["tokens"]
    assert not set(decoded.tokens) & set(ours)
