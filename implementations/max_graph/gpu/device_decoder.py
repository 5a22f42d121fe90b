"""The decode loop of a GPU: buffers are filled, a captured step is replayed, results are read."""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
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
from implementations.request import DecodedWindow, DecodeRequest

STEPS_PER_CHECK = 8
"""Steps between two reads of the rows' states."""


class DeviceDecoder(ABC):
    """Decodes batches of windows that share rules and search, each the same as alone.

    Each window has a row for each of `n_group` hypotheses.
    """

    first_graph: ClassVar[str]
    """Chooses first tokens from the prompts' logits."""
    step_graph: ClassVar[str]
    """Adds a token to each row."""

    def __init__(self, models: DecoderModels, audio: Buffer, n_group: int = 1) -> None:
        """Allocates buffers for the windows of `audio`, cross-attention's keys and values."""
        dims, device = models.dims, models.device
        self._models = models
        self.n_group = n_group
        self.n_windows = int(audio.shape[0])
        self.n_rows = n_rows = self.n_windows * n_group
        windows = np.arange(self.n_windows)
        slots = self._slots_after(np.zeros(self.n_windows, np.int32))
        self.slots = models.upload(slots)
        self.windows = models.upload(np.repeat(windows, n_group))
        self.cache = models.new_cache(n_rows)
        self.audio = Buffer.zeros(audio.shape, audio.dtype, device)
        self.states = Buffer.zeros((n_rows, N_STATE_FIELDS), DType.int32, device)
        self.sum_logprobs = Buffer.zeros((n_rows,), DType.float32, device)
        self.rules = DeviceRules(dims.n_vocab, device)
        self._prompts = [
            models.upload(np.zeros(self.n_windows)),
            models.upload(slots[::n_group]),
            models.upload(windows),
        ]
        """Offset, slots and number of each window, whose rows share its prompt."""
        self._captured: CapturedGraph | None = None

    @abstractmethod
    def choice_inputs(self) -> tuple[Buffer, ...]:
        """Returns the buffers that tokens are chosen by, in the order of the graphs."""

    def prepare(self, requests: Sequence[DecodeRequest]) -> None:  # noqa: B027  (may be nothing)
        """Fills the buffers that only this search has."""

    @abstractmethod
    def candidates(
        self, n_sampled: Sequence[int], requests: Sequence[DecodeRequest]
    ) -> list[list[Candidate]]:
        """Returns the hypotheses of each window; `n_sampled` is by rows."""

    def decode(self, requests: Sequence[DecodeRequest]) -> list[DecodedWindow]:
        """Decodes a request per window, equal but for prompts, limits and seeds."""
        began = time.perf_counter()
        no_speech_probs = self._begin(requests)
        fed = time.perf_counter()
        while not (states := self.states.to_numpy())[:, IS_FINISHED].all():
            for _ in range(STEPS_PER_CHECK):
                self.step()
        found = self.candidates(states[:, N_SAMPLED].tolist(), requests)
        ended = time.perf_counter()
        n_steps = states[:, N_SAMPLED].reshape(-1, self.n_group).max(axis=1) - 1
        decoded = []
        for index, request in enumerate(requests):
            winner = best(found[index], request.search.length_penalty)
            decoded.append(
                DecodedWindow(
                    winner.tokens,
                    winner.sum_logprob,
                    float(no_speech_probs[index * self.n_group]),
                    int(n_steps[index]),
                    prompt_seconds=(fed - began) / len(requests),
                    steps_seconds=(ended - fed) / len(requests),
                )
            )
        return decoded

    def step(self) -> None:
        """Adds a token to each row that has not ended; captured after its first execution."""
        if self._captured is not None:
            self._captured.replay()
            return
        graph = self._models.models[self.step_graph]
        inputs = (self.slots, self.windows, self.cache, self.audio, *self.choice_inputs())
        graph.execute(*inputs)
        self._captured = CapturedGraph.capture(graph, *inputs)

    def close(self) -> None:
        """Frees the captured step."""
        if self._captured is not None:
            self._captured.release()

    def _begin(self, requests: Sequence[DecodeRequest]) -> np.ndarray:
        """Feeds the prompts and chooses first tokens -> probability of no speech, [n_rows]."""
        lengths = np.array([len(request.prompt) for request in requests])
        n_new = int(lengths.max())
        tokens = np.zeros((self.n_windows, n_new), np.int32)
        states = np.zeros((self.n_windows, N_STATE_FIELDS), np.int32)
        for i, request in enumerate(requests):
            tokens[i, : lengths[i]] = request.prompt
            states[i, [OFFSET, LATEST]] = lengths[i], -1
            states[i, [LIMIT, ENDINGS_LEFT]] = request.max_tokens, request.search.max_finished
        begins = np.arange(self.n_windows) * n_new
        rows = [*(begins + [request.sot_index for request in requests]), *(begins + lengths - 1)]
        fill(self.states, np.repeat(states, self.n_group, 0))
        fill(self.sum_logprobs, np.zeros(self.n_rows, np.float32))
        if self.n_group > 1:
            fill(self.slots, self._slots_after(lengths))
        self.rules.upload(requests[0].rules)
        self.prepare(requests)
        graphs, upload = self._models.models, self._models.upload
        (logits,) = graphs["decoder"].execute(
            upload(tokens), *self._prompts, upload(rows), self.cache, self.audio
        )
        (no_speech_probs,) = graphs[self.first_graph].execute(logits, *self._first_inputs())
        array: np.ndarray = no_speech_probs.to_numpy()
        return array

    def _slots_after(self, lengths: np.ndarray) -> np.ndarray:
        """Returns each row's slots: its window's first row for the prompt, then its own."""
        rows = np.arange(self.n_rows, dtype=np.int32)[:, None]
        positions = np.arange(self._models.dims.n_text_ctx)
        is_prompt = positions < np.repeat(lengths, self.n_group)[:, None]
        slots: np.ndarray = np.where(is_prompt, rows - rows % self.n_group, rows)
        return slots

    def _first_inputs(self) -> tuple[Buffer, ...]:
        return self.choice_inputs()
