"""Samples and mel frames of live audio: the same as those of a whole recording."""

from pathlib import Path

import numpy as np

from maxwhisper_cli.listen.sound import LiveSpectrogram, SampleBuffer
from maxwhisper_cli.transcription.mel import MelSpectrogram
from tests.support import loaded
from weights.dims import HOP_LENGTH

N_FRAMES = 1500


def window_of(spectrogram: LiveSpectrogram, end: int) -> np.ndarray:
    window = np.full((80, N_FRAMES), np.nan, np.float32)
    spectrogram.fill(end, window)
    return window


def test_the_buffer_forgets_and_stays_in_place() -> None:
    samples = SampleBuffer()
    samples.append(np.arange(10, dtype=np.float32))
    samples.drop_before(4)
    assert (samples.start, samples.end) == (4, 10)
    assert samples.between(2, 7).tolist() == [0, 0, 4, 5, 6]
    samples.drop_before(8)
    assert (samples.start, samples.end) == (8, 10)
    assert samples.between(7, 10).tolist() == [0, 8, 9]
    samples.drop_before(20)
    assert (samples.start, samples.end) == (20, 20)


def test_frames_in_steps_are_those_at_once(jfk: Path) -> None:
    sound = loaded.samples_of(jfk)[: 8 * 16000]
    stepwise, buffer = None, SampleBuffer()
    spectrogram = LiveSpectrogram(buffer, 80)
    for first in range(0, len(sound), 3000):
        buffer.append(sound[first : first + 3000])
        stepwise = window_of(spectrogram, buffer.end)
    whole = SampleBuffer()
    whole.append(sound)
    at_once = window_of(LiveSpectrogram(whole, 80), len(sound))
    assert stepwise is not None
    np.testing.assert_allclose(stepwise, at_once, atol=1e-6)  # sums of other widths


def test_frames_are_those_of_a_recording(jfk: Path) -> None:
    sound = loaded.samples_of(jfk)[: 8 * 16000]
    buffer = SampleBuffer()
    buffer.append(sound)
    live = window_of(LiveSpectrogram(buffer, 80), len(sound))
    n_frames = len(sound) // HOP_LENGTH
    with MelSpectrogram([sound], 80) as mel:
        expected = mel.window(0, n_frames)
    # the first two see silence before the recording here, and its mirror image there
    np.testing.assert_allclose(live[:, 2:n_frames], expected[:, 2:], atol=2e-5)
    assert not live[:, n_frames:].any()


def test_the_start_moves_by_whole_frames(jfk: Path) -> None:
    sound = loaded.samples_of(jfk)[: 8 * 16000]
    buffer = SampleBuffer()
    buffer.append(sound)
    spectrogram = LiveSpectrogram(buffer, 80)
    before = window_of(spectrogram, len(sound))
    spectrogram.trim(100 * HOP_LENGTH + 7)
    assert spectrogram.start == 100 * HOP_LENGTH
    assert buffer.end - buffer.start <= len(sound) - 98 * HOP_LENGTH
    moved = window_of(spectrogram, len(sound))
    np.testing.assert_allclose(moved[:, :600], before[:, 100:700], atol=0.2)  # its floor may rise
