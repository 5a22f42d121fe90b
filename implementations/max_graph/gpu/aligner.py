"""Alignment of a batch's texts on the GPU, from which only paths and probabilities are read.

A text that is aligned alone, as window after window are, is padded to one of a few lengths, and its
graph is captured: single kernels would take the host longer than the device.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Self

import numpy as np
import numpy.typing as npt
from max.driver import Buffer
from max.dtype import DType

from implementations.alignment import AlignmentRequest, TokenAlignment
from implementations.implementation import Meanwhile, nothing
from implementations.max_graph.gpu.device_decoder import DeviceDecoder
from implementations.max_graph.gpu.device_rules import fill
from implementations.max_graph.gpu.load import CapturedGraph
from implementations.max_graph.gpu.session import DecoderModels
from implementations.max_graph.graphs.aligned_text import N_TEXT_FIELDS
from weights.dims import ModelDimensions

_BYTES_AT_ONCE = 1 << 30
"""Bytes of logits and scores that texts which are aligned together take at most."""
_BYTES_CAPTURED = 1 << 28
"""Bytes of logits and scores that a captured graph may hold."""
_LENGTH_STEP = 32
"""Tokens alone are padded to a multiple of so many."""
_MAX_CAPTURED = 4
"""Lengths whose graphs are kept."""
_ALIGNED = 64
"""Packed arrays begin at multiples of so many numbers, 256 bytes."""


@dataclass(frozen=True, slots=True)
class _Packed:
    """Integers that a group's texts are aligned by, side by side in one array."""

    values: npt.NDArray[np.int32]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, *shapes: tuple[int, ...]) -> Self:
        """Returns zeros in such shapes."""
        return cls(np.zeros(_offsets(shapes)[-1], np.int32), shapes)

    def parts(self) -> list[npt.NDArray[np.int32]]:
        """Returns the arrays as parts of the packed one, to be filled."""
        return [
            self.values[start : start + math.prod(shape)].reshape(shape)
            for start, shape in zip(_offsets(self.shapes), self.shapes, strict=False)
        ]

    def views(self, uploaded: Buffer) -> list[Buffer]:
        """Returns the arrays as parts of the packed one on the device."""
        return [
            uploaded[start : start + math.prod(shape)].view(DType.int32, shape)
            for start, shape in zip(_offsets(self.shapes), self.shapes, strict=False)
        ]


def _offsets(shapes: Sequence[tuple[int, ...]]) -> list[int]:
    """Returns where each array begins, and where the last one ends."""
    sizes = (-(-math.prod(shape) // _ALIGNED) * _ALIGNED for shape in shapes)
    return list(accumulate(sizes, initial=0))


@dataclass(frozen=True, slots=True)
class _CapturedAlignment:
    """The graph for one length of a text, with the buffer that its integers are copied to."""

    packed: Buffer
    graph: CapturedGraph


class TextAligner:
    """Aligns texts with windows, as many at once as memory allows."""

    def __init__(
        self, models: DecoderModels, find_decoder: Callable[[int], DeviceDecoder | None]
    ) -> None:
        """Nothing is allocated yet.

        Args:
            models: The decoder's graphs.
            find_decoder: Returns an idle decoder with so many rows or more, whose buffers are lent.
        """
        self._models = models
        self._find_decoder = find_decoder
        self._lender: DeviceDecoder | None = None
        """Decoder of one window, whose buffers the captured graphs read and write."""
        self._captured: dict[tuple[int, int], _CapturedAlignment] = {}
        """Graphs by tokens and heads, the last used at the end."""

    def align(
        self, audio: Buffer, requests: Sequence[AlignmentRequest], meanwhile: Meanwhile = nothing
    ) -> list[TokenAlignment]:
        """Aligns text i with window i of cross-attention's keys and values."""
        found: list[TokenAlignment] = []
        with self._models.lock:
            for group in text_groups(self._models.dims, requests):
                own = [requests[i] for i in group]
                outputs = self._align_group(audio, group, own)
                meanwhile()
                found += _read(own, *outputs)
        return found

    def release(self) -> None:
        """Frees the captured graphs; to be called before a decoder is closed."""
        while self._captured:
            self._captured.popitem()[1].graph.release()
        self._lender = None

    def _align_group(
        self, audio: Buffer, windows: range, requests: Sequence[AlignmentRequest]
    ) -> Sequence[Buffer]:
        """Returns positions and probabilities, which the device may still be computing."""
        dims = self._models.dims
        n_new = max(len(request.tokens) for request in requests)
        padded = min(-(-n_new // _LENGTH_STEP) * _LENGTH_STEP, dims.n_text_ctx)
        is_small = _bytes_of(dims, padded, len(requests[0].heads)) <= _BYTES_CAPTURED
        if is_small and int(audio.shape[0]) == 1 and (lender := self._find_lender()):
            packed = _pack(dims, windows, requests, padded, padded)
            lender.audio.inplace_copy_from(audio)
            return self._replay(packed, lender)
        n_lines = sum(len(request.text) for request in requests)
        packed = _pack(dims, windows, requests, n_new, n_lines)
        uploaded = Buffer.from_numpy(packed.values).to(self._models.device)
        idle = self._find_decoder(len(requests))
        cache = self._models.new_cache(len(requests)) if idle is None else idle.cache
        inputs = self._inputs(packed, uploaded, cache, audio)
        outputs: Sequence[Buffer] = self._models.models["align_texts"].execute(*inputs)
        return outputs

    def _find_lender(self) -> DeviceDecoder | None:
        if self._lender is None:
            found = self._find_decoder(1)
            self._lender = found if found and found.n_windows == 1 else None
        return self._lender

    def _replay(self, packed: _Packed, lender: DeviceDecoder) -> list[Buffer]:
        """Aligns one text by a captured graph, which is captured after its first execution."""
        (_, n_new), n_heads = packed.shapes[0], packed.shapes[-3][0]
        key = n_new, n_heads
        captured = self._captured.pop(key, None)
        if captured is not None:
            self._captured[key] = captured
            fill(captured.packed, packed.values)
            captured.graph.replay()
            return captured.graph.outputs
        while len(self._captured) >= _MAX_CAPTURED:
            self._captured.pop(next(iter(self._captured))).graph.release()
        model = self._models.models["align_texts"]
        uploaded = Buffer.from_numpy(packed.values).to(self._models.device)
        inputs = self._inputs(packed, uploaded, lender.cache, lender.audio)
        outputs = list(model.execute(*inputs))
        self._captured[key] = _CapturedAlignment(uploaded, CapturedGraph.capture(model, *inputs))
        return outputs

    def _inputs(
        self, packed: _Packed, uploaded: Buffer, cache: Buffer, audio: Buffer
    ) -> tuple[Buffer, ...]:
        """Returns the inputs of `align_texts` in their order."""
        views = packed.views(uploaded)
        n_rows, n_new = packed.shapes[0]
        shape = (n_rows, packed.shapes[-3][0], n_new, self._models.dims.n_audio_ctx)
        scores = Buffer(DType.float32, shape, self._models.device)
        return (*views[:5], cache, audio, scores, *views[5:])


def text_groups(dims: ModelDimensions, requests: Sequence[AlignmentRequest]) -> Iterator[range]:
    """Yields ranges of texts of the same heads and end of text that fit into memory together."""
    start = 0
    for stop in range(1, len(requests) + 1):
        longest = max(len(request.tokens) for request in requests[start : stop + 1])
        of_each = _bytes_of(dims, longest, len(requests[start].heads))
        if (
            stop == len(requests)
            or (stop + 1 - start) * of_each > _BYTES_AT_ONCE
            or (requests[stop].heads, requests[stop].eot)
            != (requests[start].heads, requests[start].eot)
        ):
            yield range(start, stop)
            start = stop


def _bytes_of(dims: ModelDimensions, n_tokens: int, n_heads: int) -> int:
    """Returns the bytes of a text's logits and scores."""
    return 4 * n_tokens * (dims.n_vocab + n_heads * dims.n_audio_ctx)


def _pack(
    dims: ModelDimensions,
    windows: range,
    requests: Sequence[AlignmentRequest],
    n_new: int,
    n_lines: int,
) -> _Packed:
    """Returns tokens, offsets, slots, windows, lines of the logits, heads, texts and targets.

    Rows are filled up to `n_new` tokens, and lines and targets up to `n_lines`.
    """
    n_rows, heads = len(requests), requests[0].heads
    packed = _Packed.of(
        (n_rows, n_new), (n_rows,), (n_rows, dims.n_text_ctx), (n_rows,), (n_lines,),
        (len(heads), 2), (n_rows, N_TEXT_FIELDS), (n_lines,),
    )  # fmt: skip
    tokens, _, slots, own_windows, lines, own_heads, texts, targets = packed.parts()
    own_windows[:], own_heads[:] = windows, heads
    slots += np.arange(n_rows, dtype=np.int32)[:, None]
    n_filled = 0
    for row, request in enumerate(requests):
        n_sot, n_text, all_tokens = len(request.sot_sequence), len(request.text), request.tokens
        tokens[row, : len(all_tokens)] = all_tokens
        texts[row] = n_sot, len(all_tokens), request.n_positions, request.eot
        first = row * n_new + n_sot
        lines[n_filled : n_filled + n_text] = np.arange(first, first + n_text)
        targets[n_filled : n_filled + n_text] = request.text
        n_filled += n_text
    return packed


def _read(
    requests: Sequence[AlignmentRequest], positions: Buffer, probabilities: Buffer
) -> list[TokenAlignment]:
    of_rows, of_lines = positions.to_numpy().astype(np.int64), probabilities.to_numpy()
    ends = list(accumulate((len(request.text) for request in requests), initial=0))
    return [
        TokenAlignment(of_rows[row, : end - start + 1], of_lines[start:end].copy())
        for row, (start, end) in enumerate(pairwise(ends))
    ]
