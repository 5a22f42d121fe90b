"""Cutting a window's tokens at its timestamps."""

import pytest

from maxwhisper_cli.transcription.timestamps import Piece, WindowPlace, split_window
from tests.support.scripted import BEGIN

SEEK = 3000
A, B, C = 40, 41, 42


def at(seconds: float) -> int:
    return BEGIN + round(seconds / 0.02)


def split(tokens: list[int], n_frames: int = 3000) -> tuple[list[Piece], int]:
    return split_window(tuple(tokens), WindowPlace(SEEK, n_frames, BEGIN, 1500))


@pytest.mark.parametrize(
    ("tokens", "n_frames", "spans", "advance"),
    [
        pytest.param(
            [at(0), A, at(2), at(2), B, at(5), at(5)],
            3000,
            [(30, 32), (32, 35)],
            500,
            id="closed-pairs-go-on-from-the-last",
        ),
        pytest.param(
            [at(0), A, at(2), at(2), B, C],
            3000,
            [(30, 32)],
            200,
            id="speech-cut-by-the-edge-is-left-to-the-next-window",
        ),
        pytest.param(
            [at(0), A, at(2), at(2), B, at(7)],
            3000,
            [(30, 32), (32, 37)],
            3000,
            id="a-single-timestamp-at-the-end-skips-the-rest",
        ),
        pytest.param([at(0), A, at(4)], 3000, [(30, 34)], 3000, id="one-segment"),
        pytest.param([at(0), A], 1200, [(30, 42)], 1200, id="no-end-lasts-as-long-as-the-window"),
        pytest.param([A, B], 700, [(30, 37)], 700, id="no-timestamps-at-all"),
        pytest.param([], 700, [(30, 37)], 700, id="nothing-decoded"),
        pytest.param([at(0), at(0), A], 900, [(30, 30)], 900, id="never-stands-still"),
    ],
)
def test_split(
    tokens: list[int], n_frames: int, spans: list[tuple[float, float]], advance: int
) -> None:
    pieces, n_on = split(tokens, n_frames)
    assert [(round(p.start, 6), round(p.end, 6)) for p in pieces] == spans
    assert n_on == advance


def test_pieces_keep_their_own_tokens() -> None:
    pieces, _ = split([at(0), A, at(2), at(2), B, C, at(5), at(5)])
    assert [p.tokens for p in pieces] == [(at(0), A, at(2)), (at(2), B, C, at(5))]
