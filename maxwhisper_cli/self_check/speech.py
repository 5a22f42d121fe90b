"""Speech-like sound made of formulas, the same on every machine; it says no words."""

import numpy as np
import numpy.typing as npt

from maxwhisper_cli.audio.reader import SAMPLE_RATE

_SYLLABLE_SECONDS = 0.24
_FORMANTS = {
    "i": (270, 2290, 3010),
    "e": (530, 1840, 2480),
    "a": (730, 1090, 2440),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
}
"""Resonances of vowels in Hz, of a man's voice (Peterson and Barney, 1952)."""
_GAINS_AND_WIDTHS = ((1.0, 70.0), (0.6, 100.0), (0.3, 140.0))
_N_HARMONICS = 36
_VOWELS = "aioeuaeiaoeiuoaieoau" * 3


def speech_samples() -> npt.NDArray[np.float32]:
    """Returns 14 s of vowels that glide into one another, [n_samples] at 16 kHz."""
    n_each = round(_SYLLABLE_SECONDS * SAMPLE_RATE)
    place = np.linspace(0, 1, n_each, endpoint=False)
    glide = np.clip((place - 0.6) / 0.4, 0, 1)[:, None]
    pairs = zip(_VOWELS, _VOWELS[1:] + _VOWELS[0], strict=True)
    formants = np.concatenate(
        [
            np.array(_FORMANTS[now]) * (1 - glide) + np.array(_FORMANTS[then]) * glide
            for now, then in pairs
        ]
    )
    seconds = np.arange(len(formants)) / SAMPLE_RATE
    pitch = 120 * (1 + 0.12 * np.sin(2 * np.pi * 0.7 * seconds))
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    sound = sum(_harmonic(n, pitch, phase, formants) for n in range(1, _N_HARMONICS))
    loudness = np.tile(np.sqrt(np.sin(np.pi * place)), len(_VOWELS))
    voiced = np.asarray(sound) * loudness
    return (0.3 * voiced / np.abs(voiced).max()).astype(np.float32)


def _harmonic(
    n: int,
    pitch: npt.NDArray[np.float64],
    phase: npt.NDArray[np.float64],
    formants: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Returns a harmonic as the resonances let it through: three [n_samples], [n_samples, 3]."""
    distances = n * pitch[:, None] - formants
    gains, widths = np.array(_GAINS_AND_WIDTHS).T
    loudness = (gains / (1 + (distances / widths) ** 2)).sum(axis=1)
    return np.asarray(loudness / np.sqrt(n) * np.sin(n * phase))
