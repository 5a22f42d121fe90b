"""Greedy decoding and sampling on the device, which keeps each row's tokens as its history."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from max.driver import Buffer
from max.dtype import DType

from implementations.decoding.search import Candidate
from implementations.max_graph.gpu.device_decoder import DeviceDecoder
from implementations.max_graph.gpu.device_rules import fill
from implementations.max_graph.gpu.session import DecoderModels
from implementations.request import DecodeRequest


class SamplingDecoder(DeviceDecoder):
    """Greedy decoding or sampling; a row is a hypothesis, one of `n_group` of its window."""

    first_graph: ClassVar[str] = "sample_first"
    step_graph: ClassVar[str] = "sample_step"

    def __init__(self, models: DecoderModels, audio: Buffer, n_group: int = 1) -> None:
        super().__init__(models, audio, n_group)
        shape = (self.n_rows, models.dims.n_text_ctx)
        self._history = Buffer.zeros(shape, DType.int32, models.device)
        self._draws = Buffer.zeros(shape, DType.float32, models.device)
        """A random number from 0 to 1 for each token of each row."""
        self._temperature = Buffer.zeros((1,), DType.float32, models.device)

    def choice_inputs(self) -> tuple[Buffer, ...]:
        """Returns states, history, log-probabilities; rules, mask, random numbers, temperature."""
        return (
            self.states,
            self._history,
            self.sum_logprobs,
            self.rules.numbers,
            self.rules.mask,
            self._draws,
            self._temperature,
        )

    def prepare(self, requests: Sequence[DecodeRequest]) -> None:
        """Draws random numbers as `SamplingSearch` does, one for each hypothesis in each step."""
        temperature = requests[0].search.temperature
        fill(self._temperature, np.array([temperature], np.float32))
        if temperature == 0:
            return
        n_text_ctx = self._models.dims.n_text_ctx
        draws = np.zeros((self.n_windows, self.n_group, n_text_ctx), np.float32)
        for of_window, request in zip(draws, requests, strict=True):
            random = np.random.default_rng(request.search.seed)
            n_tokens = request.max_tokens
            of_window[:, :n_tokens] = random.random((n_tokens, self.n_group)).T
        fill(self._draws, draws.reshape(self.n_rows, -1))

    def candidates(
        self, n_sampled: Sequence[int], requests: Sequence[DecodeRequest]
    ) -> list[list[Candidate]]:
        """Returns all rows of each window, cut at their end of text."""
        history, sums = self._history.to_numpy(), self.sum_logprobs.to_numpy()
        eot = requests[0].rules.eot
        rows = [
            Candidate.of(history[row, :n].tolist(), float(sums[row]), eot)
            for row, n in enumerate(n_sampled)
        ]
        return [rows[i : i + self.n_group] for i in range(0, self.n_rows, self.n_group)]
