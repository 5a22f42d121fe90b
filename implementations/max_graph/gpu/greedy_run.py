"""Run greedy decoding on the device: prepare buffers, repeat the recorded step, read results."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from max.driver import Buffer
from max.dtype import DType

from implementations.decoding.request import DecodedWindow, DecodeRequest, TokenRules
from implementations.max_graph.gpu.load import Recorded
from implementations.max_graph.gpu.session import DecoderModels
from implementations.max_graph.rule_inputs import (
    IS_FINISHED,
    LATEST,
    LIMIT,
    N_RULES,
    N_SAMPLED,
    N_STATE_FIELDS,
    OFFSET,
    rule_mask,
    rule_numbers,
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

    def step_inputs(self) -> tuple[Buffer, ...]:
        """As `greedy_step` takes them."""
        return (
            self.slots,
            self.windows,
            self.cache,
            self.audio,
            self.states,
            self.history,
            self.sum_logprobs,
            self.rules,
            self.mask,
        )


def fill(buffer: Buffer, values: np.ndarray) -> None:
    """Send values to where they belong on the device."""
    buffer.inplace_copy_from(Buffer.from_numpy(values))


class GreedyRunner:
    """Decodes batches of windows that share their rules, row by row the same as alone."""

    def __init__(self, models: DecoderModels, n_rows: int, audio: Buffer) -> None:
        dims = models.dims
        self._models = models
        self._n_rows = n_rows
        device = models.device
        self.buffers = LoopBuffers(
            models.upload(np.repeat(np.arange(n_rows)[:, None], dims.n_text_ctx, 1)),
            models.upload(np.arange(n_rows)),
            models.new_cache(n_rows),
            audio,
            Buffer.zeros((n_rows, N_STATE_FIELDS), DType.int32, device),
            Buffer.zeros((n_rows, dims.n_text_ctx), DType.int32, device),
            Buffer.zeros((n_rows,), DType.float32, device),
            Buffer.zeros((N_RULES,), DType.int32, device),
            Buffer.zeros((dims.n_vocab,), DType.uint8, device),
        )
        self._origin = models.upload(np.zeros(n_rows))
        self._recorded: Recorded | None = None
        self._rules: TokenRules | None = None
        """The rules that are on the device."""

    def decode(self, requests: Sequence[DecodeRequest]) -> list[DecodedWindow]:
        """One request per row, equal but for prompts and limits; each has its share of the time."""
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
                    models.models["greedy_step"].execute(*buffers.step_inputs())
        history = buffers.history.to_numpy()
        sums = buffers.sum_logprobs.to_numpy()
        decoded = [
            _decoded(history[i, : states[i, N_SAMPLED]], float(sums[i]), float(silence[i]), r)
            for i, r in enumerate(requests)
        ]
        prompt_seconds = (fed - began) / self._n_rows
        steps_seconds = (time.perf_counter() - fed) / self._n_rows
        return [
            replace(window, prompt_seconds=prompt_seconds, steps_seconds=steps_seconds)
            for window in decoded
        ]

    @property
    def is_recorded(self) -> bool:
        """Whether the step is recorded."""
        return self._recorded is not None

    def capture(self) -> None:
        """Record the step; call after a first decode."""
        step = self._models.models["greedy_step"]
        self._recorded = Recorded.of(step, *self.buffers.step_inputs())

    def _begin(self, requests: Sequence[DecodeRequest]) -> np.ndarray:
        models, buffers, n_rows = self._models, self.buffers, self._n_rows
        lengths = [len(request.prompt) for request in requests]
        n_new = max(lengths)
        tokens = np.zeros((n_rows, n_new), np.int32)
        states = np.zeros((n_rows, N_STATE_FIELDS), np.int32)
        for i, request in enumerate(requests):
            tokens[i, : lengths[i]] = request.prompt
            room = request.n_text_ctx - lengths[i] + 1
            states[i, [OFFSET, LATEST, LIMIT]] = (
                lengths[i],
                -1,
                min(request.max_new_tokens, room),
            )
        rows = [i * n_new + request.sot_index for i, request in enumerate(requests)]
        rows += [i * n_new + length - 1 for i, length in enumerate(lengths)]
        fill(buffers.states, states)
        fill(buffers.sum_logprobs, np.zeros(n_rows, np.float32))
        self._take_rules(requests[0].rules)
        (silence,) = models.models["greedy_begin"].execute(
            models.upload(tokens),
            self._origin,
            buffers.slots,
            buffers.windows,
            models.upload(rows),
            buffers.cache,
            buffers.audio,
            buffers.states,
            buffers.history,
            buffers.sum_logprobs,
            buffers.rules,
            buffers.mask,
        )
        array: np.ndarray = silence.to_numpy()
        return array

    def _take_rules(self, rules: TokenRules) -> None:
        if rules != self._rules:
            fill(self.buffers.rules, rule_numbers(rules))
            fill(self.buffers.mask, rule_mask(rules, self._models.dims.n_vocab))
            self._rules = rules


def _decoded(
    tokens: np.ndarray, sum_logprob: float, silence: float, request: DecodeRequest
) -> DecodedWindow:
    sampled = [int(token) for token in tokens]
    eot = request.rules.eot
    text = sampled[: sampled.index(eot)] if eot in sampled else sampled
    return DecodedWindow(tuple(text), sum_logprob, silence, len(sampled) - 1)
