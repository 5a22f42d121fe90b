"""Recordings whose spectrogram cannot be read."""

import numpy as np
import pytest

from maxwhisper_cli.transcription.mel import MelSpectrogram
from weights.errors import MaxWhisperError


@pytest.fixture
def half_minutes_are_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recordings of 30 s cannot be read again once they are opened: "the disk is gone"."""
    fill = MelSpectrogram.fill_padded

    def refuse(self: MelSpectrogram, window: np.ndarray, start: int, n_frames: int) -> None:
        if self.seconds == 30:
            raise MaxWhisperError("the disk is gone")
        fill(self, window, start, n_frames)

    monkeypatch.setattr(MelSpectrogram, "fill_padded", refuse)
