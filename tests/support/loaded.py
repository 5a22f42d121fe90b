"""Models, most of them loaded once per test run: ours, and openai-whisper's own."""

import copy
import dataclasses
import hashlib
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import whisper
from whisper.model import ModelDimensions as WhisperDimensions

from implementations import registry
from implementations.implementation import Implementation
from implementations.options import LoadOptions
from implementations.session import AudioFeatures, FloatArray
from maxwhisper_cli.audio.reader import SAMPLE_RATE, open_audio
from maxwhisper_cli.model import Model
from maxwhisper_cli.transcription.options import TranscribeOptions
from tests.support import references
from weights.checkpoint import Checkpoint
from weights.resolve import load as load_checkpoint

N_KEPT_WINDOWS = 16


@cache
def checkpoint(model: str) -> Checkpoint:
    """The weights of a named model, from its installed package."""
    return load_checkpoint(model, model_dir=None, offline=True, progress=None)


def load(name: str, impl: str, **options: Any) -> Model:
    """A named model on an implementation, loaded anew with the given `LoadOptions`."""
    chosen = registry.implementation_class(impl)
    return Model(chosen.load(checkpoint(name), LoadOptions(**options)), name)


@cache
def model(name: str, impl: str) -> Model:
    """A named model on an implementation, in float32, for all tests of a process.

    Most of them hear the same windows, and encoding takes a half to nine tenths of the time: a
    window is encoded once. That it gives the same again is tested by those who load models of their
    own, and by every test that runs in another process.
    """
    ours = load(name, impl, dtype="float32")
    if ours.implementation.device == "cpu":
        _encode_once(ours.implementation)
    return ours


def _encode_once(implementation: Implementation) -> None:
    """Keeps the features of the last windows or batches: of base, 3 MB a window."""
    encode = implementation.encode
    kept: OrderedDict[bytes, AudioFeatures] = OrderedDict()

    def encode_once(mel: FloatArray) -> AudioFeatures:
        key = hashlib.sha256(mel.tobytes()).digest()
        features = kept.pop(key, None) or encode(mel)
        kept[key] = copy.copy(features)  # without the keys and values that a session adds
        if len(kept) > N_KEPT_WINDOWS:
            kept.popitem(last=False)
        return features

    implementation.encode = encode_once  # type: ignore[method-assign]


@cache
def whisper_model(name: str) -> whisper.Whisper:
    """Openai-whisper's model, built by its own constructor and loader from the same weights."""
    weights = checkpoint(name)
    built = whisper.Whisper(WhisperDimensions(**dataclasses.asdict(weights.dims)))
    built.load_state_dict(
        {k: torch.from_numpy(np.array(v, np.float32)) for k, v in weights.tensors.items()}
    )
    built.set_alignment_heads(whisper._ALIGNMENT_HEADS[name])
    return built.eval()


@cache
def samples_of(path: Path, seconds: int | None = None) -> np.ndarray:
    """Returns a recording's samples from our loader, so that both sides get the same.

    Args:
        path: The recording.
        seconds: Its beginning alone.
    """
    with open_audio(path) as audio:
        return audio.read()[: None if seconds is None else seconds * SAMPLE_RATE]


@contextmanager
def whisper_may_warn() -> Iterator[None]:
    """Ignores warnings of openai-whisper: a CPU beside a GPU, tensors sorted by numpy."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Performing inference on CPU when CUDA is available")
        warnings.filterwarnings("ignore", "__array_wrap__ must accept", DeprecationWarning)
        yield


@cache
def whisper_result(
    name: str,
    path: Path,
    beam_size: int | None,
    seconds: int | None = None,
    *,
    word_timestamps: bool = False,
) -> dict[str, Any]:
    """Returns the result of openai-whisper's own `transcribe` for a file, or its beginning."""
    samples = samples_of(path, seconds)
    return whisper_transcribe(name, samples, beam_size=beam_size, word_timestamps=word_timestamps)


def whisper_transcribe(name: str, samples: np.ndarray, **options: Any) -> dict[str, Any]:
    """Returns the result of openai-whisper's own `transcribe` at temperature 0."""
    options = {"temperature": 0.0, "fp16": False, **options}

    def compute() -> dict[str, Any]:
        with whisper_may_warn():
            return whisper.transcribe(whisper_model(name), samples, **options)

    return references.kept(compute, checkpoint(name), samples, call="transcribe", **options)


def assert_token_identical(ours: Model, path: Path, beam_size: int | None) -> None:
    """Compares tiny.en segment by segment with openai-whisper, which computes on the CPU."""
    options = TranscribeOptions(beam_size=beam_size, temperatures=(0.0,))
    transcript = ours.transcribe(samples_of(path), options)
    expected = whisper_result("tiny.en", path, beam_size)
    assert [list(segment.tokens) for segment in transcript.segments] == [
        segment["tokens"] for segment in expected["segments"]
    ]
