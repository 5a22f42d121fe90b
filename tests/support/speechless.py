"""Sound in which nobody speaks: silence, noise, hum, music, applause; `[n_samples]` at 16 kHz."""

from collections.abc import Callable, Mapping

import numpy as np

RATE = 16000


def _decibels(level: float) -> float:
    """Amplitude of a level below full scale."""
    return float(10 ** (level / 20))


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE), np.float32)


def white_noise(seconds: float, level: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, _decibels(level), int(seconds * RATE))
    return noise.astype(np.float32)


def pink_noise(seconds: float, level: float) -> np.ndarray:
    """Noise whose power falls by 3 dB an octave."""
    n_samples = int(seconds * RATE)
    spectrum = np.fft.rfft(np.random.default_rng(1).normal(0, 1, n_samples).astype(np.float32))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum, n_samples)
    return (noise * (_decibels(level) / noise.std())).astype(np.float32)


def tone(seconds: float, frequency: float = 440) -> np.ndarray:
    times = np.arange(int(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * frequency * times)).astype(np.float32)


def mains_hum(seconds: float) -> np.ndarray:
    """50 Hz with its harmonics, over soft noise."""
    hum = white_noise(seconds, -60)
    for harmonic, level in ((1, -20), (2, -26), (3, -24), (5, -32), (7, -38)):
        hum += _decibels(level) / 0.3 * tone(seconds, 50 * harmonic)
    return hum


def chords(seconds: float) -> np.ndarray:
    """C, G, a, F: two seconds each, of plucked strings with six overtones."""
    one = np.arange(2 * RATE) / RATE
    bars = []
    for notes in ((48, 60, 64, 67), (43, 59, 62, 67), (45, 57, 60, 64), (41, 57, 60, 65)):
        bar = np.zeros(len(one))
        for note in notes:
            frequency = 440 * 2 ** ((note - 69) / 12)
            for overtone in range(1, 7):
                decay = np.exp(-one * (1 + overtone))
                bar += decay / overtone * np.sin(2 * np.pi * overtone * frequency * one)
        bars.append(0.08 * bar)
    n_samples = int(seconds * RATE)
    return np.resize(np.concatenate(bars), n_samples).astype(np.float32)


def applause(seconds: float) -> np.ndarray:
    """A hundred claps a second: short bursts of noise at random times, louder and softer."""
    generator = np.random.default_rng(2)
    n_samples, n_clap = int(seconds * RATE), RATE // 50
    sound = np.zeros(n_samples + n_clap, np.float32)
    decay = np.exp(-np.arange(n_clap) / (RATE / 400))
    bursts = generator.normal(0, 1, (64, n_clap)) * decay
    for start in generator.integers(0, n_samples, int(100 * seconds)):
        loudness = generator.uniform(0.01, 0.08)
        sound[start : start + n_clap] += loudness * bursts[generator.integers(64)]
    return sound[:n_samples]


SPEECHLESS: Mapping[str, Callable[[float], np.ndarray]] = {
    "silence": silence,
    "white noise, -20 dB": lambda seconds: white_noise(seconds, -20),
    "white noise, -50 dB": lambda seconds: white_noise(seconds, -50),
    "pink noise, -20 dB": lambda seconds: pink_noise(seconds, -20),
    "pink noise, -50 dB": lambda seconds: pink_noise(seconds, -50),
    "mains hum": mains_hum,
    "tone": tone,
    "chords": chords,
    "applause": applause,
}
"""Makers of such sound by name; each takes a length in seconds."""
