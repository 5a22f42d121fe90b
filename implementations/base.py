"""The contract between Whisper's implementations and everything that uses them.

An implementation encodes mel windows and decodes tokens from them. `Implementation.decode` has a
default that works through a `DecoderSession`, so encoding and sessions are all that a new one must
write; one that can run the whole loop on its own device overrides `decode` with the same results.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from implementations.decoding.loop import decode_window
from implementations.decoding.request import DecodedWindow, DecodeRequest
from implementations.decoding.rules import RuleBook
from implementations.decoding.search import HypothesisSearch
from implementations.log_mel import log_mel_frames
from weights.checkpoint import Checkpoint
from weights.dims import ModelDimensions

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Heads = Sequence[tuple[int, int]]
"""Attention heads of the decoder as (layer, head)."""

AUTO = "auto"
"""The dtype that is the fastest of those that keep an implementation's accuracy."""

EXACT = "float32"
"""The dtype that every implementation has: sums in float32 over the checkpoint's own numbers."""

HOST = "host"
"""The compile target that is this machine's CPU."""

CompileProgress = Callable[[str], None]
"""Told in words what is being compiled, and again when that has ended; only MAX's call it."""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How to place a model on a device."""

    device: str | None = None
    """`cpu`, `cuda`, `cuda:1`; None is the kind that the implementation always has."""
    dtype: str | None = None
    """`float32`, `float16`, `bfloat16`, `int8`, or `auto`: the fastest that keeps the accuracy.

    None takes the implementation's default for the device: exact float32 on a CPU.
    """
    n_threads: int = 0
    """CPU threads; 0 leaves the library's own default."""
    on_compile: CompileProgress | None = None
    target: str = HOST
    """What `compile` makes graphs for: `host`, or a GPU's architecture such as `cuda:sm_90a`."""


class AudioFeatures(ABC):
    """Encoder output for a batch of windows, wherever the implementation keeps it."""

    @abstractmethod
    def __len__(self) -> int:
        """How many windows the batch holds."""

    @abstractmethod
    def __getitem__(self, index: int) -> Self:
        """One window of the batch, as a batch of one."""

    @abstractmethod
    def numpy(self) -> FloatArray:
        """A copy on the host, [n_batch, n_audio_ctx, n_audio_state]."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """What word timing needs of one decoder pass over a finished token sequence."""

    cross_attention: FloatArray
    """Scores before softmax of the chosen heads, [n_heads, n_tokens, n_audio_ctx]."""
    logits: FloatArray
    """[n_tokens, n_vocab]."""


class DecoderSession(ABC):
    """Decoding of one window by `n_group` hypotheses with their KV cache; a context manager.

    Logits are float32 on the host; the caller may write into them, and they are valid until the
    next call on the session.
    """

    @abstractmethod
    def prefill(self, tokens: Sequence[int], positions: Sequence[int]) -> FloatArray:
        """Feed the prompt that all hypotheses share; call once, first.

        [n_prompt] tokens -> logits after the given prompt positions, [n_positions, n_vocab].
        """

    @abstractmethod
    def step(self, tokens: IntArray) -> FloatArray:
        """Feed one token to each hypothesis: [n_group] -> logits [n_group, n_vocab]."""

    def advance(self, search: HypothesisSearch, book: RuleBook) -> list[int] | None:
        """Feed each hypothesis its latest token and let the search take its next.

        A session that applies rules and ranks tokens on its own device overrides this.

        Returns:
            What `HypothesisSearch.advance` says.
        """
        logits = self.step(np.array([tokens[-1] for tokens in search.sampled]))
        return search.advance(logits, book.apply(logits, search.sampled))

    @abstractmethod
    def reorder(self, source_indices: Sequence[int]) -> None:
        """Let hypothesis i continue from the cache of hypothesis `source_indices[i]`."""

    @abstractmethod
    def close(self) -> None:
        """Free the cache; harmless when repeated."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Implementation(ABC):
    """One way to run a Whisper model; holds the weights on its device until `close`.

    An instance may be shared by threads: it serialises what it must.
    """

    name: ClassVar[str]
    mel_frames_at_once: ClassVar[int] = 512
    """How many frames `log_mel` is best asked for: what fits the cache of a processor."""

    dims: ModelDimensions
    device: str
    """Where it runs, as shown to users: `cpu`, `cuda:0`."""
    dtype: str
    """What it computes in: `float32`, `float16`, ...; never `auto`.

    Of `hybrid` on a CPU, `bfloat16` is the encoder's: PyTorch decodes in float32.
    """

    @classmethod
    @abstractmethod
    def load(cls, checkpoint: Checkpoint, options: LoadOptions) -> "Implementation":
        """Put the weights on the device; what comes back may be a class made for that device.

        Raises:
            ImplementationUnavailableError: the device or dtype asked for is not to be had here.
        """

    @classmethod
    def compile(cls, checkpoint: Checkpoint, options: LoadOptions) -> None:
        """Make ahead of time what `load` would compile; most implementations compile nothing.

        Raises:
            ImplementationFailedError: the graphs could not be compiled.
        """
        del checkpoint, options

    def log_mel(self, samples: FloatArray, filters: FloatArray) -> FloatArray:
        """Log-mel frames of a stretch of audio, before floor and scale.

        [n_samples] at 16 kHz and [n_mels, 201] filters -> log10 band power, [n_frames, n_mels].
        """
        return log_mel_frames(samples, filters)

    @abstractmethod
    def encode(self, mel: FloatArray) -> AudioFeatures:
        """Encode log-mel windows: [n_batch, n_mels, 3000] -> features of n_batch windows."""

    @abstractmethod
    def start(self, audio_features: AudioFeatures, n_group: int) -> DecoderSession:
        """Open a session for one window (a batch of one) with `n_group` hypotheses."""

    @abstractmethod
    def align(
        self, audio_features: AudioFeatures, tokens: Sequence[int], heads: Heads
    ) -> Alignment:
        """Cross-attention of the given heads over a whole token sequence, for word times."""

    @abstractmethod
    def weights(self) -> Iterator[tuple[str, FloatArray]]:
        """The weights as the implementation holds them, by canonical name, as float32 copies."""

    @abstractmethod
    def trace_encoder(self, mel: FloatArray) -> list[FloatArray]:
        """The encoder's state after its convolutions and after each block, for finding errors.

        [n_batch, n_mels, 3000] -> n_audio_layer + 1 arrays [n_batch, n_audio_ctx, n_audio_state].
        """

    def decode(self, audio_features: AudioFeatures, request: DecodeRequest) -> DecodedWindow:
        """Decode one window (a batch of one) at one temperature, rules and search included.

        Raises:
            NotNumbersError: the model computes NaN or infinity.
        """
        began = time.perf_counter()
        with self.start(audio_features, request.search.n_group) as session:
            return decode_window(session, request, began)

    def wait(self) -> None:  # noqa: B027  (most have nothing to wait for)
        """Wait until the device has done all that it was given, so that times can be taken."""

    def decode_batch(
        self, audio_features: AudioFeatures, requests: Sequence[DecodeRequest]
    ) -> list[DecodedWindow]:
        """Decode each window of a batch by its request; the same as `decode` one by one.

        Raises:
            ImplementationFailedError: there is no room for so many at once.
            NotNumbersError: the model computes NaN or infinity in one of them.
        """
        return [self.decode(audio_features[i], request) for i, request in enumerate(requests)]

    @abstractmethod
    def close(self) -> None:
        """Free the weights' memory; harmless when repeated, and nothing else may follow."""
