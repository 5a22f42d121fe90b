"""Log-mel frames of a block of audio, in numpy; an implementation may have its own.

The numbers are those of the transform inside openai-whisper's `log_mel_spectrogram`, before its
floor and scale, which need the whole recording.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from weights.dims import HOP_LENGTH, N_FFT

QUIETEST: Final = 1e-10
"""Power below which a mel band counts as silent."""

FloatArray = npt.NDArray[np.float32]


def log_mel_frames(samples: FloatArray, filters: FloatArray) -> FloatArray:
    """Returns every whole frame of the samples: 25 ms each, every 10 ms, under a Hann window.

    Args:
        samples: [n_samples] at 16 kHz, at least 400.
        filters: Mel filter bank, [n_mels, 201].

    Returns:
        log10 of the power in each band, [n_frames, n_mels].
    """
    frames = np.lib.stride_tricks.sliding_window_view(samples, N_FFT)[::HOP_LENGTH]
    spectrum = np.fft.rfft(frames * hann_window())  # [n_frames, 201] complex64
    power = spectrum.real**2 + spectrum.imag**2
    bands: FloatArray = np.log10(np.maximum(power @ filters.T, np.float32(QUIETEST)))
    return bands


def hann_window() -> FloatArray:
    """Returns the periodic Hann window, [400], computed in float32 as torch.hann_window is.

    Its rounding is visible in the quietest bands.
    """
    phase = np.arange(N_FFT, dtype=np.float32) * np.float32(2 * np.pi / N_FFT)
    return np.float32(0.5) - np.float32(0.5) * np.cos(phase)
