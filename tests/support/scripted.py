"""An implementation with scripted decoding results, for tests of the steps after decoding."""

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Self

import numpy as np

from implementations.alignment import AlignmentRequest, TokenAlignment
from implementations.implementation import Implementation
from implementations.options import LoadOptions
from implementations.request import DecodedWindow, DecodeRequest
from implementations.session import Alignment, AudioFeatures, DecoderSession, FloatArray, Heads
from weights.checkpoint import Checkpoint
from weights.dims import ModelDimensions

TINY_EN = ModelDimensions(80, 1500, 384, 6, 4, 51864, 448, 384, 6, 4)
EOT = 50256
BEGIN = 50363
"""<|0.00|> of the English-only vocabulary; each token after it is 20 ms later."""

Script = Callable[[DecodeRequest], DecodedWindow]


def window(
    tokens: Sequence[int], *, avg_logprob: float = -0.2, no_speech_prob: float = 0.01
) -> DecodedWindow:
    """Returns a decoded window."""
    return DecodedWindow(
        tuple(tokens), avg_logprob * (len(tokens) + 1), no_speech_prob, len(tokens)
    )


class ScriptedFeatures(AudioFeatures):
    """Holds the mel it was given."""

    def __init__(self, mel: FloatArray) -> None:
        self.mel = mel

    def __len__(self) -> int:
        return len(self.mel)

    def __getitem__(self, index: int) -> Self:
        return type(self)(self.mel[index : index + 1])

    def numpy(self) -> FloatArray:
        return np.zeros((len(self.mel), 1500, 384), np.float32)


class ScriptedImplementation(Implementation):
    """Answers each decoding request by calling the script; keeps requests and mel windows."""

    name: ClassVar[str] = "scripted"
    alignment_heads = ((0, 0),)

    def __init__(self, script: Script) -> None:
        self.dims = TINY_EN
        self.device, self.dtype = "cpu", "float32"
        self.script = script
        self.requests: list[DecodeRequest] = []
        self.windows: list[FloatArray] = []

    @classmethod
    def load(cls, checkpoint: Checkpoint, options: LoadOptions) -> Self:
        raise NotImplementedError

    def encode(self, mel: FloatArray) -> ScriptedFeatures:
        self.windows.append(mel)
        return ScriptedFeatures(mel)

    def decode(self, audio_features: AudioFeatures, request: DecodeRequest) -> DecodedWindow:
        self.requests.append(request)
        return self.script(request)

    def start(self, audio_features: AudioFeatures, n_group: int) -> DecoderSession:
        raise NotImplementedError

    def weights(self) -> Iterator[tuple[str, FloatArray]]:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing to free."""

    def trace_encoder(self, mel: FloatArray) -> list[FloatArray]:
        raise NotImplementedError

    def align(
        self, audio_features: AudioFeatures, tokens: Sequence[int], heads: Heads
    ) -> Alignment:
        raise NotImplementedError

    def align_batch(
        self, audio_features: AudioFeatures, requests: Sequence[AlignmentRequest]
    ) -> list[TokenAlignment]:
        """Gives all tokens of a text the same time."""
        return [
            TokenAlignment(
                np.linspace(0, each.n_positions, len(each.text) + 1).astype(np.int64),
                np.full(len(each.text), 0.9, np.float32),
            )
            for each in requests
        ]
