"""Log-mel spectrogram of a whole recording, built block by block and read window by window.

The numbers are those of openai-whisper's `log_mel_spectrogram` with 30 s of padding; the frames
themselves are computed by `implementations.log_mel` or by an implementation's own transform.
Frames are stored as plain log10 values, because the floor of the scale is set by the loudest frame
of the whole recording: it is applied when a window is read. They stay in the arrays in which they
were computed, on the host or on the implementation's device. This module depends on neither
recordings nor models.

Each frame covers 25 ms of samples around its time and comes every 10 ms (Hann window, 400-point
Fourier transform), reflected at the start as `torch.stft(center=True)` does.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from implementations.log_mel import log_mel_frames
from implementations.mel_frames import MelFrames, MelPart, MelWindow
from maxwhisper_cli.transcription.mel_store import MelStore
from maxwhisper_cli.transcription.upstream import mel_filters
from weights.closing import Closing
from weights.dims import HOP_LENGTH, N_FFT

SAMPLE_RATE: Final = 16000
FRAMES_PER_SECOND: Final = SAMPLE_RATE // HOP_LENGTH
N_FRAMES: Final = 3000
"""Frames of the 30 s window that the encoder reads."""

_QUIETEST_LOG10 = -10.0  # NumPy's log10 of it is one rounding step lower

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
LogMel = Callable[[Float32, Float32], Float32 | MelFrames]
Clip = tuple[int, int]
"""Start and end of a part of a recording, in mel frames."""


class MelSpectrogram(Closing):
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
        """Reads all the audio and computes its frames.

        Args:
            blocks: Mono samples at 16 kHz, in blocks of any length.
            n_mels: Mel bands: 80, or 128 from large-v3 on.
            transform: Computes the frames: (samples, filters) -> log10 of band powers, in an array
                that is not written to again, or on a device.
            frames_at_once: Largest number of frames per call of `transform`.
            progress: Called with the seconds of audio read so far.
        """
        self.n_mels = n_mels
        self.speech: tuple[Clip, ...] | None = None
        """Parts of the recording with speech, in order; None if it was not looked for."""
        self._filters = mel_filters(n_mels)
        self._transform = transform
        self._samples_at_once = frames_at_once * HOP_LENGTH
        self._store = MelStore(n_mels)
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
        """Frames of the audio itself, without padding; upstream's `content_frames`."""
        return self._n_samples // HOP_LENGTH

    @property
    def n_frames(self) -> int:
        """Number of frames, the 3000 of padding included."""
        return self.n_content_frames + N_FRAMES

    def window(self, start_frame: int, n_frames: int) -> Float32:
        """Returns `n_frames` frames from `start_frame` on, fewer at the end.

        Returns:
            `[n_mels, n_frames]`, scaled as the encoder expects it.
        """
        stop = min(start_frame + n_frames, self.n_frames)
        log_spec = np.empty((self.n_mels, max(stop - start_frame, 0)), np.float32)
        self._fill(log_spec, start_frame)
        return log_spec

    def padded_window(self, start_frame: int, n_frames: int = N_FRAMES) -> Float32:
        """Returns `n_frames` frames followed by zeros up to a full window.

        The zeros are mel values, not silence, as upstream's `pad_or_trim` gives the encoder. Short
        clips are padded too, since the models were trained on full windows (README.md has the
        word error rates of shorter ones).

        Returns:
            `[n_mels, 3000]`.
        """
        window = np.empty((self.n_mels, N_FRAMES), np.float32)
        self.fill_padded(window, start_frame, n_frames)
        return window

    def fill_padded(self, window: Float32, start_frame: int, n_frames: int) -> None:
        """Writes what `padded_window` returns into `[n_mels, 3000]`."""
        stop = min(start_frame + min(n_frames, N_FRAMES), self.n_frames)
        n_filled = max(stop - start_frame, 0)
        self._fill(window[:, :n_filled], start_frame)
        window[:, n_filled:] = 0

    def device_window(self, start_frame: int, n_frames: int) -> MelWindow | None:
        """Returns the same window as `padded_window`, for `Implementation.encode_frames`.

        None if not all of its frames are on the device.
        """
        parts = list(self._store.parts(start_frame, start_frame + min(n_frames, N_FRAMES)))
        on_device = [each for each in parts if isinstance(each, MelPart)]
        if not on_device or len(on_device) < len(parts):
            return None
        n_filled = min(n_frames, N_FRAMES, self.n_frames - start_frame)
        return MelWindow(on_device, float(self._floor), n_filled)

    def loudness(self, start_frame: int, n_frames: int) -> Float64:
        """Returns the mean over the bands of each scaled frame, from `start_frame` on."""
        if self._device_loudness is None:
            window = self.window(start_frame, n_frames)
            return window.mean(axis=0, dtype=np.float64)
        return self._device_loudness[start_frame : start_frame + n_frames]

    @cached_property
    def _device_loudness(self) -> Float64 | None:
        """Loudness of all frames, padding included; None unless they are on a device."""
        means = [each.loudness(float(self._floor)) for each in self._store.on_device]
        if not means:
            return None
        silence = (self._floor + np.float32(4.0)) * np.float32(0.25)
        n_silent = max(0, self.n_frames - len(self._store))
        return np.concatenate([*means, np.full(n_silent, silence, np.float64)])[: self.n_frames]

    @property
    def _floor(self) -> np.float32:
        return max(np.float32(self._loudest) - np.float32(8.0), np.float32(_QUIETEST_LOG10))

    def _fill(self, log_spec: Float32, start_frame: int) -> None:
        """Writes scaled frames from `start_frame` on into `[n_mels, n_frames]`."""
        floor = self._floor
        n_filled = 0
        for stored in self._store.read(start_frame, start_frame + log_spec.shape[1]):
            filled = log_spec[:, n_filled : n_filled + len(stored)]
            np.maximum(stored.T, floor, out=filled)
            n_filled += len(stored)
        log_spec[:, n_filled:] = floor
        log_spec += np.float32(4.0)
        log_spec *= np.float32(0.25)

    def close(self) -> None:
        """Drops the frames and their temporary file."""
        self._store.close()

    def _build(self, blocks: Iterable[Float32], progress: Callable[[float], None] | None) -> None:
        buffer = np.empty(self._samples_at_once + 3 * N_FFT, np.float32)
        n_buffered = N_FFT // 2  # the mirror image of the start goes there
        for block, is_complete in _split_blocks(blocks, self._samples_at_once):
            buffer[n_buffered : n_buffered + len(block)] = block
            n_buffered += len(block)
            self._n_samples += len(block)
            if is_complete:
                n_buffered = self._store_frames(buffer, n_buffered)
                if progress is not None:
                    progress(self.seconds)
        # Silence up to the last frame that overlaps the audio; those after it are not stored.
        buffer[n_buffered : n_buffered + 2 * N_FFT] = 0
        self._store_frames(buffer, n_buffered + 2 * N_FFT)
        self._loudest = max(self._loudest, self._store.loudest)

    def _store_frames(self, buffer: Float32, n_buffered: int) -> int:
        """Stores every whole frame of the buffer; moves the samples still needed to its front.

        Returns:
            Number of samples still needed.
        """
        if n_buffered <= N_FFT:
            return n_buffered
        if not len(self._store):
            buffer[: N_FFT // 2] = buffer[N_FFT : N_FFT // 2 : -1]
        log_spec = self._transform(buffer[:n_buffered], self._filters)
        self._store.append(log_spec)
        n_done = len(log_spec) * HOP_LENGTH
        buffer[: n_buffered - n_done] = buffer[n_done:n_buffered]
        return n_buffered - n_done


def _split_blocks(blocks: Iterable[Float32], size: int) -> Iterator[tuple[Float32, bool]]:
    """Yields the blocks, cut at multiples of `size` samples, each with a flag.

    The flag is True for blocks that end at such a multiple, and for an empty last one.
    """
    n_missing = size
    for block in blocks:
        rest = block
        while len(rest) >= n_missing:
            yield rest[:n_missing], True
            rest, n_missing = rest[n_missing:], size
        yield rest, False
        n_missing -= len(rest)
    yield np.empty(0, np.float32), True
