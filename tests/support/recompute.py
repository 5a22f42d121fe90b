"""A fifth implementation: openai-whisper's model without any cache, every text computed anew.

It is what implementations/README.md says that a new one takes: this file, and one `Entry`.
"""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
import torch
import whisper
from whisper.model import ModelDimensions as WhisperDimensions

from implementations.implementation import Implementation
from implementations.options import AUTO, EXACT, LoadOptions
from implementations.registry import Entry
from implementations.session import (
    Alignment,
    AudioFeatures,
    DecoderSession,
    FloatArray,
    Heads,
    IntArray,
)
from implementations.torch_model.session import cross_attention
from implementations.torch_tensors import TorchAudioFeatures, float32_array, free
from weights.checkpoint import Checkpoint

ENTRY = Entry(
    name="recompute",
    encoder="PyTorch",
    decoder="PyTorch",
    device_kinds=("cpu",),
    target="tests.support.recompute:RecomputeImplementation",
    packages=("torch", "whisper"),
    install="pip install torch openai-whisper",
    speed_rank={"cpu": 5},
)


class RecomputeSession(DecoderSession):
    """Each hypothesis's tokens, all of which are fed again in every step."""

    def __init__(self, model: whisper.Whisper, features: torch.Tensor, n_group: int) -> None:
        self._model, self._features = model, features
        self._texts: list[list[int]] = [[] for _ in range(n_group)]

    def prefill(self, tokens: Sequence[int], positions: Sequence[int]) -> FloatArray:
        self._texts = [list(tokens) for _ in self._texts]
        return self._logits(self._texts[:1])[0, list(positions)]

    def step(self, tokens: IntArray) -> FloatArray:
        for text, token in zip(self._texts, tokens.tolist(), strict=True):
            text.append(token)
        return self._logits(self._texts)[:, -1]

    def reorder(self, source_indices: Sequence[int]) -> None:
        self._texts = [list(self._texts[source]) for source in source_indices]

    def close(self) -> None:
        self._texts = []

    @torch.inference_mode()
    def _logits(self, texts: list[list[int]]) -> FloatArray:
        logits = self._model.decoder(torch.tensor(texts), self._features)
        array: FloatArray = logits.numpy().copy()  # of inference mode, and to be written into
        return array


class RecomputeImplementation(Implementation):
    """All that the contract demands, and nothing else."""

    name: ClassVar[str] = "recompute"

    def __init__(self, model: whisper.Whisper, checkpoint: Checkpoint) -> None:
        self.dims, self.device, self.dtype = checkpoint.dims, "cpu", EXACT
        self.alignment_heads = checkpoint.alignment_heads
        self._model = model

    @classmethod
    def load(cls, checkpoint: Checkpoint, options: LoadOptions) -> Self:
        assert options.dtype in {None, AUTO, EXACT}
        model = whisper.Whisper(WhisperDimensions(**dataclasses.asdict(checkpoint.dims)))
        model.load_state_dict(
            {k: torch.from_numpy(np.array(v, np.float32)) for k, v in checkpoint.tensors.items()}
        )
        return cls(model.eval(), checkpoint)

    @torch.inference_mode()
    def encode(self, mel: FloatArray) -> TorchAudioFeatures:
        return TorchAudioFeatures(self._model.encoder(torch.from_numpy(mel)))

    def start(self, audio_features: AudioFeatures, n_group: int) -> RecomputeSession:
        assert isinstance(audio_features, TorchAudioFeatures)
        return RecomputeSession(self._model, audio_features.tensor, n_group)

    def align(
        self, audio_features: AudioFeatures, tokens: Sequence[int], heads: Heads
    ) -> Alignment:
        assert isinstance(audio_features, TorchAudioFeatures)
        scores, logits = cross_attention(self._model, audio_features.tensor, tokens, heads)
        return Alignment(float32_array(scores), float32_array(logits))

    def close(self) -> None:
        free(self._model)
