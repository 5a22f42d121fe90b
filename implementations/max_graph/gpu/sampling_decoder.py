"""Greedy decoding and sampling on the device, which keeps each row's tokens as its history."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from max.driver import Buffer
from max.dtype import DType

from implementations.decoding.search import Candidate
from implementations.max_graph.gpu.device_decoder import Arrays, Buffers, DeviceDecoder
from implementations.max_graph.gpu.device_rules import fill
from implementations.max_graph.gpu.session import DecoderModels
from implementations.max_graph.graphs.token_state import N_SAMPLED
from implementations.request import DecodeRequest, Search, TokenRules


class SamplingDecoder(DeviceDecoder):
    """Greedy decoding or sampling; a row is a hypothesis, one of `n_group` of its window."""

    first_graph: ClassVar[str] = "sample_first"
    step_graph: ClassVar[str] = "sample_step"
    results: ClassVar[tuple[str, ...]] = ("states", "history", "sum_logprobs")

    def __init__(
        self, models: DecoderModels, audio: Buffer, n_group: int = 1, n_windows: int | None = None
    ) -> None:
        super().__init__(models, audio, n_group, n_windows)
        self._temperature = Buffer.zeros((1,), DType.float32, models.device)

    def new_buffers(self, n_windows: int) -> Buffers:
        """Returns what is known of so many windows: also history, and random numbers.

        These are from 0 to 1, one for each token of each row.
        """
        shape = (n_windows * self.n_group, self.models.dims.n_text_ctx)
        return super().new_buffers(n_windows) | {
            "history": Buffer.zeros(shape, DType.int32, self.models.device),
            "draws": Buffer.zeros(shape, DType.float32, self.models.device),
        }

    def choice_inputs(self, buffers: Buffers) -> tuple[Buffer, ...]:
        """Returns states, history, log-probabilities; rules, mask, random numbers, temperature."""
        return (
            *(buffers[name] for name in self.results),
            *(self.rules.numbers, self.rules.mask, buffers["draws"], self._temperature),
        )

    def set_search(self, rules: TokenRules, search: Search) -> None:
        """Uploads rules and temperature."""
        super().set_search(rules, search)
        fill(self._temperature, np.array([search.temperature], np.float32))

    def prepare(self, buffers: Buffers, requests: Sequence[DecodeRequest]) -> None:
        """Draws random numbers as `SamplingSearch` does, one for each hypothesis in each step."""
        if requests[0].search.temperature == 0:
            return
        n_text_ctx = self.models.dims.n_text_ctx
        draws = np.zeros((len(requests), self.n_group, n_text_ctx), np.float32)
        for of_window, request in zip(draws, requests, strict=True):
            random = np.random.default_rng(request.search.seed)
            n_tokens = request.max_tokens
            of_window[:, :n_tokens] = random.random((n_tokens, self.n_group)).T
        fill(buffers["draws"], draws.reshape(-1, n_text_ctx))

    def candidates(self, arrays: Arrays, n_sampled: int, request: DecodeRequest) -> list[Candidate]:
        """Returns all rows of a window, cut at their end of text."""
        del n_sampled  # each row has its own
        rows = zip(*(arrays[name] for name in self.results), strict=True)
        eot = request.rules.eot
        return [
            Candidate.of(history[: state[N_SAMPLED]].tolist(), float(total), eot)
            for state, history, total in rows
        ]
