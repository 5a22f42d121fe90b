"""Models loaded once per test run: ours, and openai-whisper's own with the same weights."""

import dataclasses
import warnings
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
from implementations.base import LoadOptions
from maxwhisper_cli.model import Model
from maxwhisper_cli.transcription.audio import open_audio
from weights.checkpoint import Checkpoint
from weights.resolve import load as load_checkpoint


@cache
def checkpoint(model: str) -> Checkpoint:
    """The weights of a named model, from its installed package."""
    return load_checkpoint(model, model_dir=None, offline=True, progress=None)


@cache
def model(name: str, impl: str) -> Model:
    """A named model on an implementation, in float32."""
    weights = checkpoint(name)
    chosen = registry.implementation_class(impl)
    return Model(chosen.load(weights, LoadOptions(dtype="float32")), name)


@cache
def whisper_model(name: str) -> whisper.Whisper:
    """Openai-whisper's model, built by its own constructor and loader from the same weights."""
    weights = checkpoint(name)
    built = whisper.Whisper(WhisperDimensions(**dataclasses.asdict(weights.dims)))
    built.load_state_dict(
        {k: torch.from_numpy(np.array(v, np.float32)) for k, v in weights.tensors.items()}
    )
    return built.eval()


@cache
def samples_of(path: Path) -> np.ndarray:
    """A recording's samples as our loader gives them, so that both sides hear the same."""
    with open_audio(path) as audio:
        return audio.read()


@contextmanager
def whisper_may_warn() -> Iterator[None]:
    """Let openai-whisper run on a CPU beside a GPU, and sort a tensor by numpy as it ends beams."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Performing inference on CPU when CUDA is available")
        warnings.filterwarnings("ignore", "__array_wrap__ must accept", DeprecationWarning)
        yield


@cache
def whisper_result(name: str, path: Path, beam_size: int | None) -> dict[str, Any]:
    """What openai-whisper's own `transcribe` says of a recording at temperature 0."""
    with whisper_may_warn():
        return whisper.transcribe(
            whisper_model(name), samples_of(path), temperature=0.0, beam_size=beam_size, fp16=False
        )
