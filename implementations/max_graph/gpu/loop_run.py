"""Run greedy decoding or sampling on the device: prepare buffers, repeat the step, read results."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from max.driver import Buffer
from max.dtype import DType

from implementations.decoding.request import DecodedWindow, DecodeRequest
from implementations.decoding.search import Candidate, best
from implementations.max_graph.gpu.device_rules import DeviceRules, fill
from implementations.max_graph.gpu.load import Recorded
from implementations.max_graph.gpu.session import DecoderModels
from implementations.max_graph.rule_inputs import (
    IS_FINISHED,
    LATEST,
    LIMIT,
    N_SAMPLED,
    N_STATE_FIELDS,
    OFFSET,
)

BLOCK = 8
"""Steps between two looks at whether all rows have ended."""


@dataclass(frozen=True, slots=True)
class LoopBuffers:
    """What a recorded step works on; its inputs in their order."""

    slots: Buffer
    windows: Buffer
    cache: Buffer
    audio: Buffer
    states: Buffer
    history: Buffer
    sum_logprobs: Buffer
    rules: Buffer
    mask: Buffer
    draws: Buffer
    """A random number from 0 to 1 for each token of each row."""
    temperature: Buffer

    def step_inputs(self) -> tuple[Buffer, ...]:
        """As `loop_step` takes them."""
        return tuple(getattr(self, field.name) for field in fields(self))


class LoopRunner:
    """Decodes batches of windows that share rules and temperature, row by row the same as alone.

    Each window has a row for each of `n_group` hypotheses: one, or several that are sampled.
    """

    def __init__(self, models: DecoderModels, audio: Buffer, n_group: int = 1) -> None:
        dims, device = models.dims, models.device
        n_windows = int(audio.shape[0])
        self._models = models
        self._n_group = n_group
        self._n_rows = n_rows = n_windows * n_group
        self._rules = DeviceRules(dims.n_vocab, device)
        self.buffers = LoopBuffers(
            models.upload(np.repeat(np.arange(n_rows)[:, None], dims.n_text_ctx, 1)),
            models.upload(np.repeat(np.arange(n_windows), n_group)),
            models.new_cache(n_rows),
            Buffer.zeros(audio.shape, audio.dtype, device),
            Buffer.zeros((n_rows, N_STATE_FIELDS), DType.int32, device),
            Buffer.zeros((n_rows, dims.n_text_ctx), DType.int32, device),
            Buffer.zeros((n_rows,), DType.float32, device),
            self._rules.numbers,
            self._rules.mask,
            Buffer.zeros((n_rows, dims.n_text_ctx), DType.float32, device),
            Buffer.zeros((1,), DType.float32, device),
        )
        self._origin = models.upload(np.zeros(n_rows))
        self._recorded: Recorded | None = None

    def decode(self, requests: Sequence[DecodeRequest]) -> list[DecodedWindow]:
        """A request per window, equal but for prompts, limits and seeds; all share the time."""
        models, buffers = self._models, self.buffers
        began = time.perf_counter()
        silence = self._begin(requests)
        fed = time.perf_counter()
        while True:
            states = buffers.states.to_numpy()
            if states[:, IS_FINISHED].all():
                break
            for _ in range(BLOCK):
                if self._recorded is not None:
                    self._recorded.run()
                else:
                    models.models["loop_step"].execute(*buffers.step_inputs())
        history = buffers.history.to_numpy()
        sums = buffers.sum_logprobs.to_numpy()
        lines = [history[row, :n].tolist() for row, n in enumerate(states[:, N_SAMPLED])]
        ended = time.perf_counter()
        decoded = []
        for i, request in enumerate(requests):
            rows = range(i * self._n_group, (i + 1) * self._n_group)
            eot, penalty = request.rules.eot, request.search.length_penalty
            winner = best(
                [Candidate.of(lines[row], float(sums[row]), eot) for row in rows], penalty
            )
            decoded.append(
                DecodedWindow(
                    winner.tokens,
                    winner.sum_logprob,
                    float(silence[rows[0]]),
                    max(len(lines[row]) for row in rows) - 1,
                    prompt_seconds=(fed - began) / len(requests),
                    steps_seconds=(ended - fed) / len(requests),
                )
            )
        return decoded

    @property
    def is_recorded(self) -> bool:
        """Whether the step is recorded."""
        return self._recorded is not None

    def capture(self) -> None:
        """Record the step; call after a first decode."""
        step = self._models.models["loop_step"]
        self._recorded = Recorded.of(step, *self.buffers.step_inputs())

    def close(self) -> None:
        """Free what was recorded."""
        if self._recorded is not None:
            self._recorded.release()

    def _begin(self, requests: Sequence[DecodeRequest]) -> np.ndarray:
        """Feed the prompts and choose the first tokens -> probability of silence, [n_rows]."""
        models, buffers = self._models, self.buffers
        of_rows = [request for request in requests for _ in range(self._n_group)]
        lengths = [len(request.prompt) for request in of_rows]
        n_new = max(lengths)
        tokens = np.zeros((self._n_rows, n_new), np.int32)
        states = np.zeros((self._n_rows, N_STATE_FIELDS), np.int32)
        for i, request in enumerate(of_rows):
            tokens[i, : lengths[i]] = request.prompt
            states[i, [OFFSET, LATEST, LIMIT]] = lengths[i], -1, request.most_tokens
        rows = [i * n_new + request.sot_index for i, request in enumerate(of_rows)]
        rows += [i * n_new + length - 1 for i, length in enumerate(lengths)]
        fill(buffers.states, states)
        fill(buffers.sum_logprobs, np.zeros(self._n_rows, np.float32))
        self._rules.take(requests[0].rules)
        self._take_draws(requests)
        (silence,) = models.models["loop_begin"].execute(
            models.upload(tokens),
            self._origin,
            buffers.slots,
            buffers.windows,
            models.upload(rows),
            *buffers.step_inputs()[2:],
        )
        array: np.ndarray = silence.to_numpy()
        return array

    def _take_draws(self, requests: Sequence[DecodeRequest]) -> None:
        """Random numbers as `SamplingSearch` takes them: one for each hypothesis in each step."""
        temperature = requests[0].search.temperature
        fill(self.buffers.temperature, np.array([temperature], np.float32))
        if temperature == 0:
            return
        draws = np.zeros((len(requests), self._n_group, self._models.dims.n_text_ctx), np.float32)
        for of_window, request in zip(draws, requests, strict=True):
            random = np.random.default_rng(request.search.seed)
            n_most = request.most_tokens
            of_window[:, :n_most] = random.random((n_most, self._n_group)).T
        fill(self.buffers.draws, draws.reshape(self._n_rows, -1))
