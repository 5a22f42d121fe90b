"""Recordings whose mel frames stay on a device: the same windows and cuts as those of the host."""

from dataclasses import replace

import numpy as np
import pytest

from implementations.log_mel import log_mel_frames
from implementations.mel_frames import MelFrames
from implementations.request import DecodedWindow, DecodeRequest
from implementations.session import FloatArray
from maxwhisper_cli.transcription import mel_store
from maxwhisper_cli.transcription.cuts import cut_clips
from maxwhisper_cli.transcription.mel import N_FRAMES, MelSpectrogram
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.speakers import start_run
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from tests.support.device_mel import (
    ArrayFrames,
    DeviceMelImplementation,
    device_log_mel,
    window_of,
)
from tests.support.driving import parts
from tests.support.scripted import BEGIN, window
from tests.support.scripted_rows import RowImplementation

TOKENIZER = get_tokenizer(False)


def sound(seconds: float) -> FloatArray:
    """Noise that grows and falls, so that frames differ in loudness."""
    n_samples = round(seconds * 16000)
    noise = np.random.default_rng(0).normal(0, 0.1, n_samples)
    swell: FloatArray = noise * np.sin(np.arange(n_samples) / 50_000) ** 2
    return swell.astype(np.float32)


class TurnsToHost:
    """Leaves the first frames on the device, and the rest on the host."""

    def __init__(self, n_on_device: int) -> None:
        self._n_left = n_on_device

    def __call__(self, samples: FloatArray, filters: FloatArray) -> FloatArray | MelFrames:
        self._n_left -= 1
        frames = log_mel_frames(samples, filters)
        return ArrayFrames(frames) if self._n_left >= 0 else frames


@pytest.mark.parametrize("seconds", [0.01, 3, 30, 47.3])
def test_windows_are_those_of_the_host(seconds: float) -> None:
    samples = sound(seconds)
    with (
        MelSpectrogram([samples], 80, frames_at_once=700) as host,
        MelSpectrogram([samples], 80, frames_at_once=700, transform=device_log_mel) as mel,
    ):
        n_content = mel.n_content_frames
        for start in {0, 1, 699, 700, 1234, n_content // 2, max(0, n_content - 1)}:
            for n_frames in (1, 500, n_content - start, N_FRAMES, N_FRAMES + 7):
                if start >= n_content or n_frames <= 0:
                    continue
                found = mel.device_window(start, n_frames)
                assert found is not None
                np.testing.assert_array_equal(window_of(found), host.padded_window(start, n_frames))
                np.testing.assert_array_equal(
                    mel.padded_window(start, n_frames), host.padded_window(start, n_frames)
                )
        assert mel.device_window(mel.n_frames - 1, 100) is None  # nothing but silence
        assert host.device_window(0, N_FRAMES) is None
        np.testing.assert_array_equal(
            mel.loudness(0, mel.n_frames), host.loudness(0, host.n_frames)
        )
        clips = [(0, n_content)]
        assert cut_clips(clips, mel.loudness) == cut_clips(clips, host.loudness)


def test_frames_that_no_longer_fit_on_the_device_are_read_on_the_host() -> None:
    samples = sound(50)
    with (
        MelSpectrogram([samples], 80, frames_at_once=700) as host,
        MelSpectrogram([samples], 80, frames_at_once=700, transform=TurnsToHost(3)) as mel,
    ):
        assert mel.device_window(0, 2000) is not None
        assert mel.device_window(0, N_FRAMES) is None
        for start in (0, 1000, 2100, 3000):
            np.testing.assert_array_equal(mel.padded_window(start), host.padded_window(start))
        np.testing.assert_array_equal(mel.loudness(1500, 900), host.loudness(1500, 900))


def test_a_file_takes_the_frames_of_the_device_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mel_store, "_MEMORY_BYTES", 320_000)  # 1,000 frames of the host
    samples = sound(50)
    with (
        MelSpectrogram([samples], 80, transform=device_log_mel, frames_at_once=700) as mel,
        MelSpectrogram([samples], 80, transform=TurnsToHost(3), frames_at_once=700) as mixed,
    ):
        assert mel.device_window(2500, N_FRAMES) is not None  # those of the device take no memory
        assert mixed.device_window(0, 100) is None
        for start in (0, 1000, 2100, 3000):
            np.testing.assert_array_equal(mixed.padded_window(start), mel.padded_window(start))


@pytest.mark.parametrize("n_rows", [1, 3])
def test_a_recording_is_encoded_without_a_copy_of_its_frames(n_rows: int) -> None:
    def script(_request: DecodeRequest) -> DecodedWindow:
        return window([BEGIN, *TOKENIZER.encode(" word"), BEGIN + 1000, BEGIN + 1000])

    windows = []
    before = ArrayFrames.n_copied
    for implementation in (RowImplementation(script), DeviceMelImplementation(script)):
        with MelSpectrogram(
            [sound(70)],
            80,
            transform=implementation.log_mel,
            frames_at_once=implementation.mel_frames_at_once,
        ) as mel:
            options = replace(TranscribeOptions(), temperatures=(0.0,))
            run = start_run(implementation, mel, options, is_cut=n_rows > 1)
            for _ in parts(implementation, run, n_rows):
                pass
        windows.append(np.concatenate(implementation.windows))
    assert len(windows[0]) >= 3
    np.testing.assert_array_equal(windows[1], windows[0])
    assert ArrayFrames.n_copied == before
