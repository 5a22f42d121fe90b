"""Rows of windows that share rules and search: places of a decoder that are filled again and again.

Steps are enqueued ahead of the host, which reads copies of states that the device has left behind:
it waits for an earlier block of steps while the next one runs.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from max.driver import Buffer, Usage, batch_inplace_copy
from max.dtype import DType

from implementations.errors import NonFiniteLogitsError
from implementations.max_graph.gpu.device_decoder import Arrays, Buffers, DeviceDecoder
from implementations.max_graph.gpu.device_rules import fill
from implementations.max_graph.graphs.token_state import IS_FINISHED, N_STATE_FIELDS
from implementations.request import DecodeRequest
from implementations.row_decoder import RowResult, UnwantedWindowError

STEPS_AHEAD = 2
"""Steps of a block: between two looks at the rows' states."""
BLOCKS_AHEAD = 2
"""Blocks that are enqueued before the host waits for the first of them."""
MIN_PROMPTS = 3
"""Windows that are fed at once at least, the last one repeated; see `RowGroup.add`."""
MAX_PROMPTS = 16
"""Windows that are fed at once at most."""
MIN_TOKENS = 12
"""Tokens of a prompt that are fed at least."""


@dataclass(frozen=True, slots=True)
class NewWindow:
    """A window to decode."""

    key: int
    request: DecodeRequest
    audio: int
    """Its window in the decoder's audio."""
    is_wanted: Callable[[], bool]
    """Returns False once nobody waits for it."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A window in a place of the decoder."""

    window: NewWindow
    first_block: int
    """Number of the first block of steps that it takes part in."""


@dataclass(frozen=True, slots=True)
class _Look:
    """Copies of the buffers after a block of steps, on the host once the device is so far."""

    block: int
    staged: Buffers


class RowGroup:
    """Windows of equal rules and search in the places of one decoder."""

    def __init__(self, decoder: DeviceDecoder) -> None:
        """Takes over a decoder, whose rows are all taken to be free."""
        self.decoder = decoder
        self._no_speech = Buffer.zeros((decoder.n_rows,), DType.float32, decoder.models.device)
        self._places: list[_Place | None] = [None] * decoder.n_windows
        self._looks: deque[_Look] = deque()
        self._spare: list[Buffers] = []
        """Staging buffers that no look holds."""
        self._n_blocks = 0
        self.clear()

    @property
    def n_free(self) -> int:
        """Places without a window."""
        return self._places.count(None)

    @property
    def is_idle(self) -> bool:
        """True if there is no window."""
        return self.n_free == len(self._places)

    def clear(self) -> None:
        """Frees all places; steps leave their rows alone from now on."""
        states = np.zeros((self.decoder.n_rows, N_STATE_FIELDS), np.int32)
        states[:, IS_FINISHED] = 1
        fill(self.decoder.buffers["states"], states)
        self._places = [None] * len(self._places)
        self._spare += [look.staged for look in self._looks]
        self._looks.clear()

    def add(self, windows: Sequence[NewWindow]) -> None:
        """Feeds the prompts of windows into free places.

        What a row computes is not to depend on who comes with it, and matmuls have other kernels
        for up to 5 rows (halves) or 32 (float32). So the rows of a prompt are always more, by
        MIN_PROMPTS and MIN_TOKENS, and those of the logits, two for each window, between the two.
        """
        for start in range(0, len(windows), MAX_PROMPTS):
            self._feed(windows[start : start + MAX_PROMPTS])

    def _feed(self, windows: Sequence[NewWindow]) -> None:
        decoder = self.decoder
        free = [place for place, held in enumerate(self._places) if held is None]
        places = free[: len(windows)]
        missing = max(0, MIN_PROMPTS - len(windows))
        fed = [*windows, *[windows[-1]] * missing]
        audio = [window.audio for window in fed]
        self._point_to_audio(dict(zip(places, audio, strict=False)))
        new = decoder.new_buffers(len(fed))
        requests = [window.request for window in fed]
        of_places = [*places, *[places[-1]] * missing]
        no_speech = decoder.feed(new, requests, of_places, audio, min_tokens=MIN_TOKENS)
        targets, sources = [], []
        for index, (place, window) in enumerate(zip(places, windows, strict=True)):
            for into, source in self._moved(new, no_speech):
                targets.append(_part(into, place, decoder.n_windows))
                sources.append(_part(source, index, len(fed)))
            self._places[place] = _Place(window, self._n_blocks)
        batch_inplace_copy(targets, sources)

    def run_ahead(self) -> None:
        """Enqueues blocks of steps, so that the device has work while the host looks."""
        while not self.is_idle and len(self._looks) < BLOCKS_AHEAD:
            for _ in range(STEPS_AHEAD):
                self.decoder.step()
            staged = self._spare.pop() if self._spare else self._new_staged()
            for name, buffer in staged.items():
                buffer.inplace_copy_from(self._read_buffers()[name])
            self._looks.append(_Look(self._n_blocks, staged))
            self._n_blocks += 1

    def look(self) -> list[RowResult]:
        """Waits for the oldest block, and returns the windows that have ended in it."""
        if not self._looks:
            return []
        look = self._looks.popleft()
        arrays = {name: buffer.to_numpy() for name, buffer in look.staged.items()}
        results = []
        for index, place in enumerate(self._places):
            if place is None or look.block < place.first_block:
                continue
            if not place.window.is_wanted():  # steps go on in its row until another window comes
                results.append(RowResult(place.window.key, None, UnwantedWindowError()))
                self._places[index] = None
                continue
            part = {name: self.decoder.part_of(array, index) for name, array in arrays.items()}
            if part["states"][:, IS_FINISHED].all():
                results.append(self._result(place.window, part))
                self._places[index] = None
        self._spare.append(look.staged)
        return results

    def close(self) -> None:
        """Frees the decoder's captured step."""
        self.clear()
        self.decoder.close()

    def _result(self, window: NewWindow, part: Arrays) -> RowResult:
        no_speech_prob = float(part["no_speech"][0])
        try:
            decoded = self.decoder.decoded(part, no_speech_prob, window.request)
        except NonFiniteLogitsError as error:
            return RowResult(window.key, None, error)
        return RowResult(window.key, decoded)

    def _point_to_audio(self, audio: dict[int, int]) -> None:
        """Lets the rows of places listen to windows of the audio."""
        n_group = self.decoder.n_group
        windows = [
            audio.get(place, 0 if held is None else held.window.audio)
            for place, held in enumerate(self._places)
        ]
        fill(self.decoder.windows, np.repeat(np.array(windows, np.int32), n_group))

    def _moved(self, new: Buffers, no_speech: Buffer) -> list[tuple[Buffer, Buffer]]:
        """Returns pairs of buffers, of all places and of new windows, whose rows are copied."""
        pairs = [
            (buffer, new[name])
            for name, buffer in self.decoder.buffers.items()
            if name != "slots" or self.decoder.n_group > 1
        ]
        return [*pairs, (self._no_speech, no_speech)]

    def _read_buffers(self) -> Buffers:
        named = {name: self.decoder.buffers[name] for name in self.decoder.results}
        return named | {"no_speech": self._no_speech}

    def _new_staged(self) -> Buffers:
        """Returns buffers of the host to which the device copies."""
        device = self.decoder.models.device
        return {
            name: Buffer(buffer.dtype, buffer.shape, device=device, usage=Usage.STAGING)
            for name, buffer in self._read_buffers().items()
        }


def _part(buffer: Buffer, index: int, n_parts: int) -> Buffer:
    """Returns one of n_parts of a buffer's first dimension, in the same memory."""
    n = int(buffer.shape[0]) // n_parts
    others = [slice(None)] * (buffer.rank - 1)
    return buffer[(slice(index * n, (index + 1) * n), *others)]
