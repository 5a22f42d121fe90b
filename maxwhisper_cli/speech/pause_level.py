"""Level of a pause above the noise: speech that the network misses is loud all the same.

A hoarse voice has probabilities near 0 in the middle of loud speech. The level of each frame is
compared with the quietest ones while somebody speaks. Music is loud, too: the caller sets an end.
"""

from typing import Final

import numpy as np

from maxwhisper_cli.speech.tiled_matrix import Float32

_LOUD_DB: Final = 8.0
"""Level above the noise at which a frame may be speech."""
_LOUD_SHARE: Final = 0.3
"""Share of such frames at which a pause is none."""
_RISE_DB: Final = 0.02
"""Rise of the noise with each frame, until a quieter one comes."""
_QUIETEST_DB: Final = -60.0
"""Level below which nothing is noise: digital silence would make loud what follows it."""


def levels_of(frames: Float32) -> list[float]:
    """[n_frames, n_samples] -> level of each, in dB of full scale."""
    power = np.square(frames).mean(axis=1)
    levels: list[float] = (10 * np.log10(power + 10 ** (_QUIETEST_DB / 10))).tolist()
    return levels


class PauseLevel:
    """Noise of a stream, and the loud frames of its last pause."""

    def __init__(self) -> None:
        self._noise = 0.0
        self._n_frames = 0
        self._n_loud = 0
        self.last_loud = 0
        """Number of frames of the pause up to the last loud one."""

    def begin(self) -> None:
        """Begins a pause with the frame that was added last, which does not count."""
        self._n_frames = self._n_loud = self.last_loud = 0

    def add(self, level: float) -> None:
        """Adds a frame of an utterance, within a pause or not."""
        self._noise = min(level, self._noise + _RISE_DB)
        self._n_frames += 1
        if level > self._noise + _LOUD_DB:
            self._n_loud += 1
            self.last_loud = self._n_frames + 1

    @property
    def is_loud(self) -> bool:
        """True if somebody may speak in the pause."""
        return self._n_loud > _LOUD_SHARE * self._n_frames
