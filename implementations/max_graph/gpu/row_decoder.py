"""Rows of a GPU behind one `RowDecoder`: windows of equal rules and search share a `RowGroup`.

All groups read one buffer of audio, in which each window has a place until it ends.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from implementations.errors import NonFiniteLogitsError
from implementations.max_graph.features import own_features
from implementations.max_graph.gpu.beam_decoder import BeamDecoder
from implementations.max_graph.gpu.graphs.choice_ops import TOP_K
from implementations.max_graph.gpu.row_group import NewWindow, RowGroup
from implementations.max_graph.gpu.sampling_decoder import SamplingDecoder
from implementations.max_graph.gpu.session import DecoderModels
from implementations.request import DecodedWindow, DecodeRequest, Search, TokenRules
from implementations.row_decoder import RowDecoder, RowResult, RowWindow, UnwantedWindowError
from implementations.session import AudioFeatures

MAX_FALLBACK_WINDOWS = 8
"""Windows of a group at a temperature above 0 at most; more of them wait for each other."""
SHARE_ENDED = 8
"""One in so many rows ends before others are waited for no longer; see `GpuRowDecoder.advance`."""
MAX_LOOKS = 4
"""Looks that windows which have ended wait for others, at most."""
MAX_GROUPS = 6
"""Groups that are kept: greedy decoding, and one for each temperature of the default fallback."""

_Kind = tuple[TokenRules, Search]


@dataclass(slots=True)
class _Waiting:
    """A window in a place of the audio that its group has no row for yet."""

    window: NewWindow
    kind: _Kind


class GpuRowDecoder(RowDecoder):
    """Windows whose decode loops stay on the device.

    Requests that go through the generic loop, as those with a prefix, are decoded one by one.
    """

    def __init__(
        self,
        models: DecoderModels,
        n_rows: int,
        decode: Callable[[AudioFeatures, DecodeRequest], DecodedWindow],
    ) -> None:
        """Allocates the audio's buffer; `decode` decodes a window by the generic loop."""
        super().__init__(n_rows)
        self.is_open = False
        self._models = models
        self._decode = decode
        self._audio = models.new_audio(n_rows)
        self._keys: dict[int, int] = {}
        """The caller's key of each place of the audio in use."""
        self._groups: dict[_Kind, RowGroup] = {}
        """The last used at the end."""
        self._waiting: deque[_Waiting] = deque()
        self._serial: deque[tuple[int, RowWindow]] = deque()

    def open(self) -> None:
        """Makes the rows ready for another user."""
        self.close()
        self.is_open = True

    @property
    def n_free(self) -> int:
        """Number of windows that may be added now."""
        return self.n_rows - len(self._keys)

    def add(self, windows: Sequence[RowWindow]) -> None:
        """Feeds the windows' prompts, those of equal rules and search together."""
        assert len(windows) <= self.n_free, "more windows than free rows"
        free = [place for place in range(self.n_rows) if place not in self._keys]
        places = free[: len(windows)]
        with self._models.lock:
            self._take_audio(windows, places)
            for place, window in zip(places, windows, strict=True):
                self._keys[place] = window.key
                request = window.request
                if request.n_given > 0 or not runs_on_device(request.search):
                    self._serial.append((place, window))
                    continue
                kind = request.rules, replace(request.search, seed=())
                self._waiting.append(
                    _Waiting(NewWindow(place, request, place, window.is_wanted), kind)
                )
            self._feed_waiting()
            self._run_ahead()

    def advance(self) -> list[RowResult]:
        """Waits until windows have ended, while the device goes on with the others.

        Feeding prompts costs about a step, for one window as for several: those that end shortly
        after each other come back together.
        """
        found: list[RowResult] = []
        n_looks = 0
        while self._keys and n_looks < MAX_LOOKS:
            results = self._decode_serially()
            with self._models.lock:
                self._run_ahead()
                for group in list(self._groups.values()):
                    results += group.look()
                found += [replace(result, key=self._keys.pop(result.key)) for result in results]
                if results:
                    self._feed_waiting()
                if len(found) > self.n_rows // SHARE_ENDED:
                    break
            n_looks += bool(found)
        with self._models.lock:
            self._run_ahead()
        return found

    def close(self) -> None:
        """Frees all rows; buffers are kept for the next to open them."""
        with self._models.lock:
            for group in self._groups.values():
                group.clear()
        self._keys.clear()
        self._waiting.clear()
        self._serial.clear()
        self.is_open = False

    def release(self) -> None:
        """Frees the device's memory; the rows cannot be opened again."""
        self.close()
        while self._groups:
            self._groups.popitem()[1].close()

    def _take_audio(self, windows: Sequence[RowWindow], places: Sequence[int]) -> None:
        """Copies the windows' keys and values for cross-attention to their places."""
        features = [own_features(window.audio_features) for window in windows]
        for place, kv in zip(places, self._models.compute_all_cross_kv(features), strict=True):
            self._audio[place : place + 1, :, :].inplace_copy_from(kv)

    def _feed_waiting(self) -> None:
        """Gives waiting windows to groups that have places for them."""
        kinds = list(dict.fromkeys(waiting.kind for waiting in self._waiting))
        for kind in kinds:
            group = self._group(kind)
            if group is None:
                continue
            of_kind = [waiting for waiting in self._waiting if waiting.kind == kind]
            chosen = of_kind[: group.n_free]
            if chosen:
                group.add([waiting.window for waiting in chosen])
                taken = {id(waiting) for waiting in chosen}
                self._waiting = deque(w for w in self._waiting if id(w) not in taken)

    def _group(self, kind: _Kind) -> RowGroup | None:
        """Returns the group of a kind; None while too many others are busy."""
        group = self._groups.pop(kind, None)
        if group is None:
            if len(self._groups) >= MAX_GROUPS:
                idle = [other for other, held in self._groups.items() if held.is_idle]
                if not idle:
                    return None
                self._groups.pop(idle[0]).close()
            group = self._new_group(kind)
        self._groups[kind] = group
        return group

    def _new_group(self, kind: _Kind) -> RowGroup:
        """Allocates a group: of all rows at temperature 0 if memory lets it, else of fewer."""
        rules, search = kind
        is_fallback = search.temperature > 0
        n_windows = min(self.n_rows, MAX_FALLBACK_WINDOWS) if is_fallback else self.n_rows
        budget = self._models.budget
        while n_windows > 1 and not budget.fits(2 * n_windows, search.n_group):
            n_windows //= 2
        decoder = (BeamDecoder if search.is_beam_search else SamplingDecoder)(
            self._models, self._audio, search.n_group, n_windows
        )
        decoder.set_search(rules, search)
        return RowGroup(decoder)

    def _run_ahead(self) -> None:
        for group in self._groups.values():
            group.run_ahead()

    def _decode_serially(self) -> list[RowResult]:
        """Decodes one of the windows that the device does not; keys are places of the audio."""
        if not self._serial:
            return []
        place, window = self._serial.popleft()
        if not window.is_wanted():
            return [RowResult(place, None, UnwantedWindowError())]
        try:
            return [RowResult(place, self._decode(window.audio_features, window.request))]
        except NonFiniteLogitsError as error:
            return [RowResult(place, None, error)]


def runs_on_device(search: Search) -> bool:
    """Returns True where the decode loop runs on the device: `top_k` finds tokens for the beams."""
    return not search.is_beam_search or search.n_group < TOP_K
