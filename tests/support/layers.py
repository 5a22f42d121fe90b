"""Whisper's layers in NumPy and float64: references of the kernels, on the CPU and on the GPU."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[Any]

EPSILON = 1e-5
"""Added to the variance in layer norm, as in torch."""


def layer_norm(x: Array, weight: Array, bias: Array) -> Array:
    """[..., n_state] -> the same shape."""
    x = x.astype(np.float64)
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    normed: Array = centred / np.sqrt(variance + EPSILON) * weight + bias
    return normed


def gelu(x: Array) -> Array:
    """By the error function, element by element."""
    x = x.astype(np.float64)
    normed: Array = 0.5 * x * (1 + torch.erf(torch.from_numpy(x / math.sqrt(2))).numpy())
    return normed


def softmax(scores: Array) -> Array:
    """Along the last axis."""
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares: Array = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return shares


def heads_of(x: Array, n_head: int) -> Array:
    """[..., n_ctx, n_state] -> [..., n_head, n_ctx, head_dim]."""
    return np.swapaxes(x.reshape(*x.shape[:-1], n_head, -1), -3, -2)


def attention(q: Array, k: Array, v: Array, is_seen: Array | None = None) -> Array:
    """[..., n_head, n_q, head_dim], and keys and values by heads -> [..., n_q, n_state].

    `is_seen`, [n_q, n_keys], says which keys a query attends to.
    """
    scores = q @ np.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1])
    if is_seen is not None:
        scores = np.where(is_seen, scores, -np.inf)
    means = np.swapaxes(softmax(scores) @ v, -3, -2)
    joined: Array = means.reshape(*means.shape[:-2], -1)
    return joined


def conv_frames(x: Array, stride: int) -> Array:
    """[n_batch, n_frames, n_in] -> [n_batch, n_frames // stride, 3 * n_in]: frames by threes."""
    n_frames = x.shape[1]
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0)))
    taps = [padded[:, tap : tap + n_frames : stride] for tap in range(3)]
    return np.concatenate([tap[:, : n_frames // stride] for tap in taps], axis=-1)
