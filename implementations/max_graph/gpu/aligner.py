"""Alignment of a batch's texts on the GPU, from which only paths and probabilities are read."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from max.driver import Buffer
from max.dtype import DType

from implementations.alignment import AlignmentRequest, TokenAlignment
from implementations.max_graph.gpu.session import DecoderModels
from weights.dims import ModelDimensions

_BYTES_AT_ONCE = 1 << 30
"""Bytes of logits and scores that texts which are aligned together take at most."""


def align_texts(
    models: DecoderModels,
    audio: Buffer,
    requests: Sequence[AlignmentRequest],
    find_cache: Callable[[int], Buffer],
) -> list[TokenAlignment]:
    """Aligns text i with window i, as many texts at once as memory allows.

    Args:
        models: The decoder's graphs.
        audio: Cross-attention's keys and values of all windows.
        requests: The texts.
        find_cache: Returns a KV cache with so many slots or more, whatever they hold.
    """
    found: list[TokenAlignment] = []
    for group in text_groups(models.dims, requests):
        part = [requests[i] for i in group]
        found += _align_group(models, audio, group, part, find_cache(len(part)))
    return found


def text_groups(dims: ModelDimensions, requests: Sequence[AlignmentRequest]) -> Iterator[range]:
    """Yields ranges of texts of the same heads and end of text that fit into memory together."""
    start = 0
    for stop in range(1, len(requests) + 1):
        longest = max(len(request.tokens) for request in requests[start : stop + 1])
        of_each = 4 * longest * (dims.n_vocab + len(requests[start].heads) * dims.n_audio_ctx)
        if (
            stop == len(requests)
            or (stop + 1 - start) * of_each > _BYTES_AT_ONCE
            or (requests[stop].heads, requests[stop].eot)
            != (requests[start].heads, requests[start].eot)
        ):
            yield range(start, stop)
            start = stop


def _align_group(
    models: DecoderModels,
    audio: Buffer,
    windows: range,
    requests: Sequence[AlignmentRequest],
    cache: Buffer,
) -> list[TokenAlignment]:
    n_rows, n_new = len(requests), max(len(request.tokens) for request in requests)
    tokens, texts = np.zeros((n_rows, n_new), np.int32), []
    lines: list[int] = []
    """Rows of the logits that give the texts' tokens, of all rows side by side."""
    for row, request in enumerate(requests):
        n_sot, n_text = len(request.sot_sequence), len(request.text)
        tokens[row, : len(request.tokens)] = request.tokens
        texts.append((n_sot, len(request.tokens), request.n_positions, request.eot))
        lines += range(row * n_new + n_sot, row * n_new + n_sot + n_text)
    targets = [token for request in requests for token in request.text]
    heads = requests[0].heads
    slots = np.repeat(np.arange(n_rows)[:, None], models.dims.n_text_ctx, axis=1)
    shape = (n_rows, len(heads), n_new, models.dims.n_audio_ctx)
    with models.lock:
        upload = models.upload
        positions, probabilities = models.models["align_texts"].execute(
            *(upload(values) for values in (tokens, np.zeros(n_rows), slots, windows, lines)),
            *(cache, audio, Buffer(DType.float32, shape, models.device)),
            *(upload(values) for values in (heads, texts, targets)),
        )
        of_rows, of_lines = positions.to_numpy().astype(np.int64), probabilities.to_numpy()
    n_texts = [len(request.text) for request in requests]
    ends = np.cumsum(n_texts)
    return [
        TokenAlignment(of_rows[row, : n_text + 1], of_lines[end - n_text : end])
        for row, (n_text, end) in enumerate(zip(n_texts, ends, strict=True))
    ]
