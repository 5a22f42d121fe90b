"""The decode loop of a GPU: buffers are filled, a captured step is replayed, results are read."""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from max.driver import Buffer
from max.dtype import DType

from implementations.decoding.search import Candidate, best
from implementations.max_graph.gpu.device_rules import DeviceRules, fill
from implementations.max_graph.gpu.load import CapturedGraph
from implementations.max_graph.gpu.session import DecoderModels
from implementations.max_graph.graphs.token_state import (
    ENDINGS_LEFT,
    IS_FINISHED,
    LATEST,
    LIMIT,
    N_SAMPLED,
    N_STATE_FIELDS,
    OFFSET,
)
from implementations.request import DecodedWindow, DecodeRequest, Search, TokenRules

STEPS_PER_CHECK = 8
"""Steps between two reads of the rows' states."""

Buffers = dict[str, Buffer]
Arrays = Mapping[str, npt.NDArray[Any]]


class DeviceDecoder(ABC):
    """Decodes batches of windows that share rules and search, each the same as alone.

    Each window has a row for each of `n_group` hypotheses. What changes from step to step, and from
    window to window, is in `buffers`, whose first dimension is rows or windows.
    """

    first_graph: ClassVar[str]
    """Chooses first tokens from the prompts' logits."""
    step_graph: ClassVar[str]
    """Adds a token to each row."""
    results: ClassVar[tuple[str, ...]]
    """Names of the buffers from which a window's hypotheses are read once it has ended."""

    def __init__(
        self, models: DecoderModels, audio: Buffer, n_group: int = 1, n_windows: int | None = None
    ) -> None:
        """Allocates buffers.

        Args:
            models: The decoder's graphs.
            audio: Cross-attention's keys and values, read in every step.
            n_group: Hypotheses of a window.
            n_windows: Windows decoded at once; by default as many as `audio` has.
        """
        self.models = models
        self.audio = audio
        self.n_group = n_group
        self.n_windows = int(audio.shape[0]) if n_windows is None else n_windows
        self.n_rows = n_rows = self.n_windows * n_group
        self.windows = models.upload(np.repeat(np.arange(self.n_windows), n_group))
        """Window of `audio` that each row listens to."""
        self.cache = models.new_cache(n_rows)
        self.rules = DeviceRules(models.dims.n_vocab, models.device)
        self.buffers = self.new_buffers(self.n_windows)
        every = range(self.n_windows)
        fill(self.buffers["slots"], self.slots_after(every, np.zeros(self.n_windows, np.int32)))
        self._every_prompt = [
            models.upload(np.zeros(self.n_windows)),
            self.buffers["slots"],
            self.windows,
        ]
        """Offset, slots and number of every window, where each is one row."""
        self._captured: CapturedGraph | None = None

    def new_buffers(self, n_windows: int) -> Buffers:
        """Returns what is known of so many windows: slots, states, sums of log-probabilities."""
        n_rows, device = n_windows * self.n_group, self.models.device
        return {
            "slots": Buffer.zeros((n_rows, self.models.dims.n_text_ctx), DType.int32, device),
            "states": Buffer.zeros((n_rows, N_STATE_FIELDS), DType.int32, device),
            "sum_logprobs": Buffer.zeros((n_rows,), DType.float32, device),
        }

    @abstractmethod
    def choice_inputs(self, buffers: Buffers) -> tuple[Buffer, ...]:
        """Returns the buffers that tokens are chosen by, in the order of the step's graph."""

    def first_inputs(self, buffers: Buffers) -> tuple[Buffer, ...]:
        """Returns the buffers that first tokens are chosen by, in the order of their graph."""
        return self.choice_inputs(buffers)

    def set_search(self, rules: TokenRules, search: Search) -> None:
        """Uploads what all windows share: rules, and of some searches more."""
        del search
        self.rules.upload(rules)

    def prepare(self, buffers: Buffers, requests: Sequence[DecodeRequest]) -> None:  # noqa: B027
        """Fills the buffers that only this search has; the default has none."""

    @abstractmethod
    def candidates(
        self, arrays: Arrays, n_sampled: int, request: DecodeRequest
    ) -> Sequence[Candidate]:
        """Returns a window's hypotheses.

        Args:
            arrays: The window's part of the buffers that `results` names.
            n_sampled: Tokens that it sampled, of samples the most of all.
            request: Its request.
        """

    def decode(self, requests: Sequence[DecodeRequest]) -> list[DecodedWindow]:
        """Decodes a request per window, equal but for prompts, limits and seeds."""
        began = time.perf_counter()
        self.set_search(requests[0].rules, requests[0].search)
        no_speech_probs = self.feed(self.buffers, requests, range(self.n_windows)).to_numpy()
        fed = time.perf_counter()
        states = self.buffers["states"]
        while not states.to_numpy()[:, IS_FINISHED].all():
            for _ in range(STEPS_PER_CHECK):
                self.step()
        arrays = {name: self.buffers[name].to_numpy() for name in self.results}
        decoded = [
            self.decoded(
                {name: self.part_of(array, index) for name, array in arrays.items()},
                float(no_speech_probs[index * self.n_group]),
                request,
            )
            for index, request in enumerate(requests)
        ]
        seconds = np.array([fed - began, time.perf_counter() - fed]) / len(requests)
        return [
            replace(window, prompt_seconds=seconds[0], steps_seconds=seconds[1])
            for window in decoded
        ]

    def decoded(
        self, arrays: Arrays, no_speech_prob: float, request: DecodeRequest
    ) -> DecodedWindow:
        """Returns a window that has ended, from its part of the buffers that `results` names.

        Raises:
            NonFiniteLogitsError: The model computed NaN or infinity.
        """
        n_sampled = int(arrays["states"][:, N_SAMPLED].max())
        found = self.candidates(arrays, n_sampled, request)
        winner = best(found, request.search.length_penalty)
        return DecodedWindow(winner.tokens, winner.sum_logprob, no_speech_prob, n_sampled - 1)

    def part_of(self, array: npt.NDArray[Any], window: int) -> npt.NDArray[Any]:
        """Returns a window's rows of an array."""
        n_rows = len(array) // self.n_windows
        return array[window * n_rows : (window + 1) * n_rows]

    def step(self) -> None:
        """Adds a token to each row that has not ended; captured after its first execution."""
        if self._captured is not None:
            self._captured.replay()
            return
        graph = self.models.models[self.step_graph]
        fixed = (self.buffers["slots"], self.windows, self.cache, self.audio)
        inputs = (*fixed, *self.choice_inputs(self.buffers))
        graph.execute(*inputs)
        self._captured = CapturedGraph.capture(graph, *inputs)

    def close(self) -> None:
        """Frees the captured step."""
        if self._captured is not None:
            self._captured.release()
            self._captured = None

    def feed(
        self,
        buffers: Buffers,
        requests: Sequence[DecodeRequest],
        places: Sequence[int],
        windows: Sequence[int] | None = None,
        *,
        min_tokens: int = 1,
    ) -> Buffer:
        """Feeds prompts and chooses first tokens.

        Args:
            buffers: What becomes known of these windows, as `new_buffers` returns it.
            requests: Request of each.
            places: Place of each among the decoder's windows, which gives its slots of the cache.
            windows: Window of `audio` of each; by default that of its place.
            min_tokens: Tokens to which shorter prompts are filled up; steps overwrite what follows.

        Returns:
            Probability of no speech, [n_rows].
        """
        lengths = np.array([len(request.prompt) for request in requests])
        n_windows, n_new = len(requests), max(min_tokens, int(lengths.max()))
        tokens = np.zeros((n_windows, n_new), np.int32)
        states = np.zeros((n_windows, N_STATE_FIELDS), np.int32)
        for i, request in enumerate(requests):
            tokens[i, : lengths[i]] = request.prompt
            states[i, [OFFSET, LATEST]] = lengths[i], -1
            states[i, [LIMIT, ENDINGS_LEFT]] = request.max_tokens, request.search.max_finished
        begins = np.arange(n_windows) * n_new
        rows = [*(begins + [request.sot_index for request in requests]), *(begins + lengths - 1)]
        slots = self.slots_after(places, lengths)
        fill(buffers["states"], np.repeat(states, self.n_group, 0))
        fill(buffers["sum_logprobs"], np.zeros(n_windows * self.n_group, np.float32))
        if self.n_group > 1:  # otherwise a row's slots never change
            fill(buffers["slots"], slots)
        self.prepare(buffers, requests)
        graphs, upload = self.models.models, self.models.upload
        prompt = self._every_prompt
        if buffers is not self.buffers or self.n_group > 1:
            chosen = places if windows is None else windows
            prompt = [upload(np.zeros(n_windows)), upload(slots[:: self.n_group]), upload(chosen)]
        (logits,) = graphs["decoder"].execute(
            upload(tokens), *prompt, upload(rows), self.cache, self.audio
        )
        (no_speech_probs,) = graphs[self.first_graph].execute(logits, *self.first_inputs(buffers))
        return no_speech_probs

    def slots_after(self, places: Sequence[int], lengths: np.ndarray) -> np.ndarray:
        """Returns slots of the rows at some places, [n_rows, n_text_ctx].

        A prompt's slot is that of its window's first row; each row's own follows.
        """
        rows = np.add.outer(np.array(places) * self.n_group, np.arange(self.n_group)).reshape(-1, 1)
        positions = np.arange(self.models.dims.n_text_ctx)
        is_prompt = positions < np.repeat(lengths, self.n_group)[:, None]
        slots: np.ndarray = np.where(is_prompt, rows - rows % self.n_group, rows)
        return slots.astype(np.int32)
