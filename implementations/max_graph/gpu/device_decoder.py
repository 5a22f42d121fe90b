"""Decoding on the device: prepare buffers, repeat the step, read results when all have ended."""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from max.driver import Buffer
from max.dtype import DType

from implementations.decoding.search import Candidate, best
from implementations.max_graph.gpu.device_rules import DeviceRules, fill
from implementations.max_graph.gpu.load import Recorded
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

BLOCK = 8
"""Steps between two looks at whether all rows have ended."""


class Runner(ABC):
    """Decodes batches of windows that share rules and search, each the same as alone.

    Each window has a row for each of `n_group` hypotheses.
    """

    first_graph: ClassVar[str]
    """Chooses first tokens from the prompts' logits."""
    step_graph: ClassVar[str]
    """Adds a token to each row."""

    def __init__(self, models: DecoderModels, audio: Buffer, n_group: int = 1) -> None:
        """Room for windows of which there are as many as in `audio`, keys and values."""
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
        """Offset, slots and number of each window, whose prompt all of its rows share."""
        self._recorded: Recorded | None = None

    @abstractmethod
    def choice_inputs(self) -> tuple[Buffer, ...]:
        """What tokens are chosen by, in the order of the graphs."""

    def prepare(self, requests: Sequence[DecodeRequest]) -> None:  # noqa: B027  (may be nothing)
        """Fill what only this search has."""

    @abstractmethod
    def candidates(
        self, n_sampled: Sequence[int], requests: Sequence[DecodeRequest]
    ) -> list[list[Candidate]]:
        """Of each window, the hypotheses to choose from; `n_sampled` is by rows."""

    def decode(self, requests: Sequence[DecodeRequest]) -> list[DecodedWindow]:
        """A request per window, equal but for prompts, limits and seeds; all share the time."""
        began = time.perf_counter()
        silence = self._begin(requests)
        fed = time.perf_counter()
        while not (states := self.states.to_numpy())[:, IS_FINISHED].all():
            for _ in range(BLOCK):
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
                    float(silence[index * self.n_group]),
                    int(n_steps[index]),
                    prompt_seconds=(fed - began) / len(requests),
                    steps_seconds=(ended - fed) / len(requests),
                )
            )
        return decoded

    def step(self) -> None:
        """One more token for each row that has not ended; recorded once it has run."""
        if self._recorded is not None:
            self._recorded.run()
            return
        graph = self._models.models[self.step_graph]
        inputs = (self.slots, self.windows, self.cache, self.audio, *self.choice_inputs())
        graph.execute(*inputs)
        self._recorded = Recorded.of(graph, *inputs)

    def close(self) -> None:
        """Free what was recorded."""
        if self._recorded is not None:
            self._recorded.release()

    def _begin(self, requests: Sequence[DecodeRequest]) -> np.ndarray:
        """Feed the prompts and choose the first tokens -> probability of silence, [n_rows]."""
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
        self.rules.take(requests[0].rules)
        self.prepare(requests)
        graphs, upload = self._models.models, self._models.upload
        (logits,) = graphs["decoder"].execute(
            upload(tokens), *self._prompts, upload(rows), self.cache, self.audio
        )
        (silence,) = graphs[self.first_graph].execute(logits, *self._first_inputs())
        array: np.ndarray = silence.to_numpy()
        return array

    def _slots_after(self, lengths: np.ndarray) -> np.ndarray:
        """Where each row keeps its past: the prompt with its window's first row, then by itself."""
        rows = np.arange(self.n_rows, dtype=np.int32)[:, None]
        positions = np.arange(self._models.dims.n_text_ctx)
        is_prompt = positions < np.repeat(lengths, self.n_group)[:, None]
        slots: np.ndarray = np.where(is_prompt, rows - rows % self.n_group, rows)
        return slots

    def _first_inputs(self) -> tuple[Buffer, ...]:
        return self.choice_inputs()
