"""Log-mel spectrogram of a whole recording, built block by block and read window by window.

The numbers are those of openai-whisper's `log_mel_spectrogram` with 30 s of padding; the frames
themselves are computed by `implementations.log_mel` or by what an implementation has instead.
Frames are kept as plain log10 values in a spooled file, because the floor of the scale is set by
the loudest frame of the whole recording: it is applied when a window is read. This module knows
neither files nor models.

Each frame covers 25 ms of samples around its time and comes every 10 ms (Hann window, 400-point
Fourier transform), reflected at the start as `torch.stft(center=True)` does.
"""

from collections.abc import Callable, Iterable, Iterator
from tempfile import SpooledTemporaryFile
from threading import Lock
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from implementations.log_mel import HOP_LENGTH, N_FFT, log_mel_frames
from maxwhisper_cli.transcription.upstream import mel_filters

SAMPLE_RATE: Final = 16000
FRAMES_PER_SECOND: Final = SAMPLE_RATE // HOP_LENGTH
N_FRAMES: Final = 3000
"""Frames of the 30 s window that the encoder reads."""

_QUIETEST_LOG10 = -10.0  # NumPy's log10 of it is one rounding step lower
_MEMORY_BYTES = 256 * 2**20  # 2 h 19 min at 80 bands; what is longer goes to a temporary file

Float32 = npt.NDArray[np.float32]
LogMel = Callable[[Float32, Float32], Float32]


class MelSpectrogram:
    """Log-mel frames of one recording, followed by 30 s of silence; a context manager.

    Windows may be read from several threads at once.
    """

    def __init__(
        self,
        blocks: Iterable[Float32],
        n_mels: int,
        *,
        transform: LogMel = log_mel_frames,
        frames_at_once: int = 512,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        """Read all the audio and compute its frames.

        Args:
            blocks: Mono samples at 16 kHz, in blocks of any length.
            n_mels: Mel bands: 80, or 128 from large-v3 on.
            transform: What computes the frames: (samples, filters) -> log10 of band powers.
            frames_at_once: How many frames it is given at most.
            progress: Called with the seconds of audio read so far.
        """
        self.n_mels = n_mels
        self._filters = mel_filters(n_mels)
        self._transform = transform
        self._samples_at_once = frames_at_once * HOP_LENGTH
        self._lock = Lock()
        self._file = SpooledTemporaryFile(max_size=_MEMORY_BYTES)  # noqa: SIM115 - closed by close()
        self._n_stored = 0
        self._loudest = _QUIETEST_LOG10
        self._n_samples = 0
        try:
            self._build(blocks, progress)
        except BaseException:
            self.close()
            raise

    @property
    def seconds(self) -> float:
        """Length of the audio."""
        return self._n_samples / SAMPLE_RATE

    @property
    def n_content_frames(self) -> int:
        """Frames of the audio itself, the padding apart; upstream's `content_frames`."""
        return self._n_samples // HOP_LENGTH

    @property
    def n_frames(self) -> int:
        """All frames, the 3000 of padding included."""
        return self.n_content_frames + N_FRAMES

    def window(self, start_frame: int, n_frames: int) -> Float32:
        """Return the frames from `start_frame` on, fewer than `n_frames` at the end.

        Returns:
            `[n_mels, n_frames]`, scaled as the encoder expects it.
        """
        stop = min(start_frame + n_frames, self.n_frames)
        log_spec = np.empty((self.n_mels, max(stop - start_frame, 0)), np.float32)
        self._fill(log_spec, start_frame)
        return log_spec

    def padded_window(self, start_frame: int, n_frames: int = N_FRAMES) -> Float32:
        """Return `n_frames` frames followed by zeros up to a full window.

        The zeros are mel values, not silence: what upstream's `pad_or_trim` gives the encoder. A
        short clip is not cut shorter than that, since the models were trained on full windows:
        over 11 English clips of 3 to 27 s, tiny.en has 3.7 % of words wrong with all of the
        window, 4.3 % with 5 s after the clip, and loops that make 63 % with 2 s.

        Returns:
            `[n_mels, 3000]`.
        """
        window = np.empty((self.n_mels, N_FRAMES), np.float32)
        self.fill_padded(window, start_frame, n_frames)
        return window

    def fill_padded(self, window: Float32, start_frame: int, n_frames: int) -> None:
        """Write what `padded_window` returns into `[n_mels, 3000]`."""
        stop = min(start_frame + min(n_frames, N_FRAMES), self.n_frames)
        n_filled = max(stop - start_frame, 0)
        self._fill(window[:, :n_filled], start_frame)
        window[:, n_filled:] = 0

    def _fill(self, log_spec: Float32, start_frame: int) -> None:
        """Write scaled frames from `start_frame` on into `[n_mels, n_frames]`."""
        floor = max(np.float32(self._loudest) - np.float32(8.0), np.float32(_QUIETEST_LOG10))
        stop = min(start_frame + log_spec.shape[1], self._n_stored)
        stored = self._read(start_frame, stop)
        np.maximum(stored.T, floor, out=log_spec[:, : len(stored)])
        log_spec[:, len(stored) :] = floor
        log_spec += np.float32(4.0)
        log_spec /= np.float32(4.0)

    def close(self) -> None:
        """Drop the frames and their temporary file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _build(self, blocks: Iterable[Float32], progress: Callable[[float], None] | None) -> None:
        held = np.empty(self._samples_at_once + 2 * N_FFT, np.float32)
        pending = held[:0]
        is_start = True
        for piece in self._pieces(blocks):
            self._n_samples += len(piece)
            pending = _behind(held, pending, piece)
            if is_start and len(pending) > N_FFT // 2:
                pending = _reflect_start(pending)
                is_start = False
            if not is_start:
                pending = self._store_frames(pending)
            if progress is not None:
                progress(self.seconds)
        # Silence up to the last frame that hears any of the audio; those after it are not stored.
        pending = np.concatenate([pending, np.zeros(2 * N_FFT, np.float32)])
        self._store_frames(_reflect_start(pending) if is_start else pending)

    def _pieces(self, blocks: Iterable[Float32]) -> Iterator[Float32]:
        """The same samples in pieces of the size that is best for the transform."""
        size = self._samples_at_once
        waiting: list[Float32] = []
        for block in blocks:
            waiting.append(block)
            if sum(map(len, waiting)) >= size:
                joined = np.concatenate(waiting) if len(waiting) > 1 else block
                n_whole = len(joined) // size * size
                yield from (joined[start : start + size] for start in range(0, n_whole, size))
                waiting = [joined[n_whole:]]
        yield np.concatenate([np.empty(0, np.float32), *waiting])

    def _store_frames(self, samples: Float32) -> Float32:
        """Append every frame that lies wholly in `samples`; return the samples still needed."""
        if len(samples) < N_FFT:
            return samples
        log_spec = self._transform(samples, self._filters)
        self._loudest = max(self._loudest, float(log_spec.max()))
        self._file.write(np.ascontiguousarray(log_spec).data)
        self._n_stored += len(log_spec)
        return samples[len(log_spec) * HOP_LENGTH :]

    def _read(self, start: int, stop: int) -> Float32:
        n_values = max(stop - start, 0) * self.n_mels
        with self._lock:
            self._file.seek(start * self.n_mels * 4)
            data = self._file.read(n_values * 4)
        return np.frombuffer(data, np.float32).reshape(-1, self.n_mels)


def _behind(held: Float32, pending: Float32, piece: Float32) -> Float32:
    """The pending samples and the piece, in `held`, whose memory need not be fetched anew."""
    n_pending = len(pending)
    held[:n_pending] = pending
    held[n_pending : n_pending + len(piece)] = piece
    return held[: n_pending + len(piece)]


def _reflect_start(samples: Float32) -> Float32:
    """Put the mirror image of the first half window before the samples."""
    return np.concatenate([samples[N_FFT // 2 : 0 : -1], samples])
