"""The contract between Whisper's implementations and everything that uses them.

An implementation encodes mel windows and decodes tokens from them. `Implementation.decode` has a
default that works through a `DecoderSession`, so encoding and sessions are all that a new one must
write; one that can run the whole loop on its own device overrides `decode` with the same results.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

from implementations.alignment import AlignmentRequest, TokenAlignment, align_text
from implementations.decoding.loop import decode_window
from implementations.log_mel import log_mel_frames
from implementations.mel_frames import MelFrames, MelWindow
from implementations.options import LoadOptions, LoadReport
from implementations.request import DecodedWindow, DecodeRequest
from implementations.row_decoder import RowDecoder, SerialRowDecoder
from implementations.session import Alignment, AudioFeatures, DecoderSession, FloatArray, Heads
from weights.checkpoint import Checkpoint
from weights.dims import ModelDimensions

Meanwhile = Callable[[], None]
"""Work of the host for the time that a device takes."""


def nothing() -> None:
    """Does nothing meanwhile."""


class Implementation(ABC):
    """One way to run a Whisper model; holds the weights on its device until `close`.

    An instance may be shared by threads: it serialises what it must.
    """

    name: ClassVar[str]
    mel_frames_at_once: ClassVar[int] = 512
    """Best number of frames per call of `log_mel`; the default fits a processor's cache."""
    windows_at_once: ClassVar[int] = 1
    """Best number of windows per call of `encode`; a processor is busy with one."""

    dims: ModelDimensions
    device: str
    """Device name for users: `cpu`, `cuda:0`."""
    dtype: str
    """Type that it computes in: `float32`, `float16`, ...; never `auto`.

    For `hybrid` on a CPU, `bfloat16` is the encoder's: PyTorch decodes in float32.
    """
    alignment_heads: Heads = ()
    """Heads of the decoder whose cross-attention follows the audio, as the checkpoint has them."""
    load_report: LoadReport = LoadReport()
    """Time and notes of the compiling that `load` did, if any."""

    @classmethod
    @abstractmethod
    def load(cls, checkpoint: Checkpoint, options: LoadOptions) -> "Implementation":
        """Puts the weights on the device; the result may be a class made for that device.

        Raises:
            ImplementationUnavailableError: The device or dtype is not available here.
        """

    @classmethod
    def compile(
        cls, checkpoint: Checkpoint, options: LoadOptions, target: str | None = None
    ) -> LoadReport:
        """Compiles ahead of time what `load` would compile; most implementations compile nothing.

        Args:
            checkpoint: The model; only its sizes and the types of its tensors matter.
            options: As `load` takes them.
            target: `host`, or a GPU's architecture such as `cuda:sm_90a`; None is the device of
                the options in this machine.

        Raises:
            ImplementationFailedError: The graphs could not be compiled.
        """
        del checkpoint, options, target
        return LoadReport()

    @classmethod  # noqa: B027  (most need not)
    def import_framework(cls) -> None:
        """Imports its framework; in the main thread, before others load the implementation.

        MAX enters a context as it is imported, and leaves it in the main thread at exit.
        """

    def log_mel(self, samples: FloatArray, filters: FloatArray) -> FloatArray | MelFrames:
        """Computes log-mel frames of a stretch of audio, before floor and scale.

        [n_samples] at 16 kHz and [n_mels, 201] filters -> log10 band power, [n_frames, n_mels], on
        the host, or on the device, for `encode_frames`. The samples may be overwritten afterwards.
        """
        return log_mel_frames(samples, filters)

    @abstractmethod
    def encode(self, mel: FloatArray) -> AudioFeatures:
        """Encodes log-mel windows: [n_batch, n_mels, 3000] -> features of n_batch windows."""

    def encode_frames(self, windows: Sequence[MelWindow]) -> AudioFeatures:
        """Encodes windows of frames that its `log_mel` left on the device."""
        raise NotImplementedError(f"{self.name} keeps no mel frames on its device")

    @abstractmethod
    def start(self, audio_features: AudioFeatures, n_group: int) -> DecoderSession:
        """Opens a session for one window (a batch of one) with `n_group` hypotheses."""

    @abstractmethod
    def align(
        self, audio_features: AudioFeatures, tokens: Sequence[int], heads: Heads
    ) -> Alignment:
        """Computes cross-attention of the given heads over a whole token sequence."""

    def align_batch(
        self, audio_features: AudioFeatures, requests: Sequence[AlignmentRequest]
    ) -> list[TokenAlignment]:
        """Aligns the text of each window of a batch with its audio, for word times."""
        return [
            align_text(self.align(audio_features[i], request.tokens, request.heads), request)
            for i, request in enumerate(requests)
        ]

    def align_windows(
        self,
        windows: Sequence[tuple[AudioFeatures, AlignmentRequest]],
        meanwhile: Meanwhile = nothing,
    ) -> list[TokenAlignment]:
        """Aligns windows of any batches, each a batch of one; together where that saves time.

        Args:
            windows: Features and text of each.
            meanwhile: Called while a device computes, or before; repeating it is harmless.
        """
        meanwhile()
        return [self.align_batch(features, [request])[0] for features, request in windows]

    def decode(self, audio_features: AudioFeatures, request: DecodeRequest) -> DecodedWindow:
        """Decodes one window (a batch of one) at one temperature, rules and search included.

        Raises:
            NonFiniteLogitsError: The model computes NaN or infinity.
        """
        began = time.perf_counter()
        with self.start(audio_features, request.search.n_group) as session:
            return decode_window(session, request, began)

    def wait(self) -> None:  # noqa: B027  (most have nothing to wait for)
        """Waits until the device has done all that it was given, so that times can be taken."""

    def decode_batch(
        self, audio_features: AudioFeatures, requests: Sequence[DecodeRequest]
    ) -> list[DecodedWindow]:
        """Decodes each window of a batch by its request; the same as `decode` one by one.

        Raises:
            ImplementationFailedError: So many at once do not fit into memory.
            NonFiniteLogitsError: The model computes NaN or infinity in one of them.
        """
        return [self.decode(audio_features[i], request) for i, request in enumerate(requests)]

    @property
    def default_rows(self) -> int:
        """Rows that pay best on the device; 1 where windows are decoded one after the other.

        Also 1 where sums in rows may round otherwise than alone, as PyTorch's: by default the text
        of a file does not depend on those beside it.
        """
        return 1

    def row_decoder(self, n_rows: int) -> RowDecoder:
        """Opens rows that decode windows side by side, each the same as by `decode`."""
        return SerialRowDecoder(n_rows, self.decode)

    @abstractmethod
    def close(self) -> None:
        """Frees the weights' memory; harmless when repeated, and nothing else may follow."""
