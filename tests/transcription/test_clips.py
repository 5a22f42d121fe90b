"""Clips to transcribe: the user's and those with speech; windows to detect the language from."""

import pytest

from maxwhisper_cli.transcription.clips import clips_of, language_windows
from maxwhisper_cli.transcription.mel import Clip


@pytest.mark.parametrize(
    ("timestamps", "expected"),
    [
        ((), [(0, 6000)]),
        ((0.0,), [(0, 6000)]),
        ((12.345,), [(1234, 6000)]),
        ((1.0, 2.0, 50.0, 90.0), [(100, 200), (5000, 6000)]),
        ((70.0,), [(7000, 6000)]),
    ],
)
def test_clips_of_the_user(timestamps: tuple[float, ...], expected: list[Clip]) -> None:
    assert clips_of(timestamps, 6000, None) == expected


SPEECH = [(100, 500), (1000, 1500), (1500, 2000), (5000, 5900)]


@pytest.mark.parametrize(
    ("timestamps", "expected"),
    [
        ((0.0,), SPEECH),
        ((3.0,), [(300, 500), *SPEECH[1:]]),
        ((3.0, 12.0), [(300, 500), (1000, 1200)]),
        ((5.0, 10.0), []),
        ((1.0, 2.0, 2.0, 3.0), [(100, 200), (200, 300)]),
        ((0.0, 16.0, 17.0, 18.0, 58.0), [*SPEECH[:2], (1500, 1600), (1700, 1800), (5800, 5900)]),
        ((70.0,), []),
    ],
)
def test_clips_with_speech(timestamps: tuple[float, ...], expected: list[Clip]) -> None:
    assert clips_of(timestamps, 6000, SPEECH) == expected


def test_no_speech() -> None:
    assert clips_of((0.0,), 6000, ()) == []


@pytest.mark.parametrize(
    ("clips", "n_windows", "expected"),
    [
        ([(0, 10000)], 1, [0]),
        ([(0, 10000)], 3, [0, 3000, 6000]),
        ([(0, 10000)], 9, [0, 3000, 6000, 9000]),
        ([(700, 800), (2000, 2500), (3800, 9000)], 1, [700]),
        # The window at 700 reaches to 3700 and covers the second clip.
        ([(700, 800), (2000, 2500), (3800, 9000)], 3, [700, 3800, 6800]),
        ([(700, 800), (2000, 4500)], 3, [700, 3700]),
        ([], 2, []),
    ],
)
def test_windows_for_the_language(clips: list[Clip], n_windows: int, expected: list[int]) -> None:
    assert language_windows(clips, n_windows) == expected
