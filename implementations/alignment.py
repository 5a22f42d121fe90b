"""Word timing from cross-attention: which audio position each token of a text belongs to.

The attention of the heads that follow the audio becomes one matrix of tokens by positions, and
dynamic time warping finds the monotonic path through it. An implementation may compute both on its
device; this is the same in numpy.

Source: `find_alignment` of whisper/timing.py.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

from implementations.session import Alignment, FloatArray, Heads, IntArray

MEDIAN_WIDTH: Final = 7
"""Audio positions under the median filter, 20 ms each."""


@dataclass(frozen=True, slots=True)
class AlignmentRequest:
    """Text of one window to be aligned with its audio.

    The decoder is fed <|startoftranscript|>, language and task, <|notimestamps|>, the text and the
    end of the text.
    """

    sot_sequence: tuple[int, ...]
    """<|startoftranscript|>, and language and task where the model has them."""
    no_timestamps: int
    text: tuple[int, ...]
    """Tokens of the text, without special tokens and timestamps; at least one."""
    eot: int
    """End of text; tokens from it on count for no probability."""
    n_positions: int
    """Audio positions (20 ms each) that hold sound; the text lies within them."""
    heads: Heads
    """Heads of the decoder whose cross-attention follows the audio, at least one."""

    @property
    def tokens(self) -> tuple[int, ...]:
        """All tokens that the decoder is fed."""
        return (*self.sot_sequence, self.no_timestamps, *self.text, self.eot)


@dataclass(frozen=True, slots=True)
class TokenAlignment:
    """Times and probabilities of a text's tokens."""

    positions: IntArray
    """Audio position at which each token begins, and at which the text ends, [n_text + 1]."""
    probabilities: FloatArray
    """Probability of each token after those before it, [n_text]."""


def align_text(alignment: Alignment, request: AlignmentRequest) -> TokenAlignment:
    """Aligns a text with its audio, given the decoder's scores and logits for its tokens."""
    scores = alignment.cross_attention[:, :, : request.n_positions]
    n_sot = len(request.sot_sequence)
    matrix = alignment_matrix(scores)[n_sot:-1]
    logits = alignment.logits[n_sot : n_sot + len(request.text), : request.eot]
    return TokenAlignment(warp(-matrix), _probabilities(logits, request.text))


def alignment_matrix(scores: FloatArray) -> FloatArray:
    """Returns how strongly each token attends to each position, averaged over heads.

    Softmax over positions, standard score over tokens, median filter over positions, mean.
    [n_heads, n_tokens, n_positions] -> [n_tokens, n_positions]
    """
    weights = scores - scores.max(axis=-1, keepdims=True)
    np.exp(weights, out=weights)
    weights /= weights.sum(axis=-1, keepdims=True)
    weights -= weights.mean(axis=-2, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        weights /= np.sqrt(np.square(weights).mean(axis=-2, keepdims=True))
    filtered: FloatArray = median_filter(weights).mean(axis=0)
    return filtered


def median_filter(values: FloatArray) -> FloatArray:
    """Returns the median of seven neighbours along the last axis, reflected at both ends.

    Fewer than four values are returned as they are, as upstream does.
    """
    n_values, pad = values.shape[-1], MEDIAN_WIDTH // 2
    if n_values <= pad:
        return values
    if values.ndim > 2:  # a head at a time stays in the cache
        return np.stack([median_filter(head) for head in values])
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(pad, pad)], mode="reflect")
    low, middle, high = _sorted_triples(padded)
    # The median lies between the third and the fourth of the six values around the centre.
    a, b = slice(n_values), slice(pad + 1, None)
    third = np.minimum(high[..., a], high[..., b])
    np.minimum(third, np.maximum(middle[..., a], low[..., b]), out=third)
    np.minimum(third, np.maximum(low[..., a], middle[..., b]), out=third)
    fourth = np.maximum(low[..., a], low[..., b])
    np.maximum(fourth, np.minimum(middle[..., a], high[..., b]), out=fourth)
    np.maximum(fourth, np.minimum(high[..., a], middle[..., b]), out=fourth)
    np.minimum(fourth, padded[..., pad : pad + n_values], out=fourth)
    return np.maximum(third, fourth, out=third)


def _sorted_triples(values: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Returns each value and the two after it in order of size, [..., n] -> [..., n - 2] each."""
    first, second, third = values[..., :-2], values[..., 1:-1], values[..., 2:]
    low, high = np.minimum(first, second), np.maximum(first, second)
    middle = np.maximum(low, third)
    np.minimum(low, third, out=low)
    return low, np.minimum(middle, high), np.maximum(middle, high)


def warp(costs: FloatArray) -> IntArray:
    """Returns the column at which the cheapest monotonic path enters each row.

    Dynamic time warping with steps right, down and diagonal, from the first cell to the last; where
    two ways cost the same the path comes from the left, even if that costs more. Sums are float64,
    as upstream's are once numba has compiled its product of float32 and infinity. Whole diagonals
    are computed at once: a cell depends only on the two diagonals before its own.

    [n_rows, n_columns] -> [n_rows]
    """
    n_rows, n_columns = costs.shape
    sums = _path_sums(costs)
    row, column = n_rows, n_columns
    entered = np.zeros(n_rows, np.int64)
    while row > 0:
        entered[row - 1] = column - 1
        if column == 1:
            row -= 1
            continue
        # sums[d, i]: cheapest path to row i of diagonal d = row + column, both counted from 1.
        diagonal = row + column
        across, down, right = (
            sums[diagonal - 2, row - 1], sums[diagonal - 1, row - 1], sums[diagonal - 1, row]
        )  # fmt: skip
        if across < down and across < right:
            row, column = row - 1, column - 1
        elif down < across and down < right:
            row -= 1
        else:
            column -= 1
    return entered


def _path_sums(costs: FloatArray) -> FloatArray:
    """Returns the cheapest sums by diagonal and row, both from 1, with infinity around them.

    [n_rows, n_columns] -> [n_rows + n_columns + 1, n_rows + 1]
    """
    n_rows, n_columns = costs.shape
    n_diagonals = n_rows + n_columns - 1
    by_diagonal = np.full((n_diagonals, n_rows), np.inf)
    step, item = by_diagonal.strides
    as_strided(by_diagonal, (n_rows, n_columns), (step + item, step))[:] = costs
    sums = np.full((n_rows + n_columns + 1, n_rows + 1), np.inf)
    sums[0, 0] = 0
    before, are_equal = np.empty(n_rows), np.empty(n_rows, np.bool_)
    for d, cells in enumerate(by_diagonal):
        np.minimum(sums[d, :-1], sums[d + 1, :-1], out=before)
        np.equal(sums[d, :-1], sums[d + 1, :-1], out=are_equal)
        np.copyto(before, np.inf, where=are_equal)
        np.minimum(before, sums[d + 1, 1:], out=before)
        np.add(cells, before, out=sums[d + 2, 1:])
    return sums


def _probabilities(logits: FloatArray, text: tuple[int, ...]) -> FloatArray:
    """Returns the probability of each token, [n_text, n_vocab] -> [n_text]."""
    chosen = logits[np.arange(len(text)), list(text)]
    top = logits.max(axis=-1)
    total = np.exp(logits - top[:, None]).sum(axis=-1)
    probabilities: npt.NDArray[np.float32] = np.exp(chosen - top) / total
    return probabilities
