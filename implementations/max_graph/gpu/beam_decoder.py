"""Beam search on the device: back pointers stay there, and are traced when all beams have ended."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from max.driver import Buffer
from max.dtype import DType

from implementations.decoding.beam import best_unfinished
from implementations.decoding.search import Candidate
from implementations.max_graph.gpu.device_decoder import DeviceDecoder
from implementations.max_graph.gpu.graphs.choice_ops import (
    BACK_POINTER_FIELDS,
    N_BACK_POINTER_FIELDS,
)
from implementations.max_graph.gpu.session import DecoderModels
from implementations.request import DecodeRequest

_TOKEN, _SOURCE, _SCORE = (
    BACK_POINTER_FIELDS.index(field) for field in ("token", "source", "score")
)


class BeamDecoder(DeviceDecoder):
    """Beam search; a row is a beam, and a window has at most `TOP_K` - 1 of them."""

    first_graph: ClassVar[str] = "beam_first"
    step_graph: ClassVar[str] = "beam_step"

    def __init__(self, models: DecoderModels, audio: Buffer, n_group: int) -> None:
        super().__init__(models, audio, n_group)
        shape = (self.n_windows, models.dims.n_text_ctx, n_group, N_BACK_POINTER_FIELDS)
        self._back_pointers = Buffer.zeros(shape, DType.int32, models.device)

    def choice_inputs(self) -> tuple[Buffer, ...]:
        """Returns states, sums of log-probabilities, back pointers; rules, mask."""
        return (
            self.states,
            self.sum_logprobs,
            self._back_pointers,
            self.rules.numbers,
            self.rules.mask,
        )

    def candidates(
        self, n_sampled: Sequence[int], requests: Sequence[DecodeRequest]
    ) -> list[list[Candidate]]:
        """Returns each window's finished hypotheses, filled up with the best unfinished ones."""
        del requests
        back_pointers = self._back_pointers.to_numpy()
        sums = self.sum_logprobs.to_numpy().reshape(self.n_windows, -1)
        n_steps = n_sampled[:: self.n_group]
        return [
            hypotheses(of_window[:n], sums_of_window)
            for of_window, n, sums_of_window in zip(back_pointers, n_steps, sums, strict=True)
        ]

    def _first_inputs(self) -> tuple[Buffer, ...]:
        return (self.slots, *self.choice_inputs())


def hypotheses(
    back_pointers: npt.NDArray[np.int32], sum_logprobs: npt.NDArray[np.float32]
) -> list[Candidate]:
    """Traces a window's candidates, in the order of `BeamSearch.candidates`.

    Args:
        back_pointers: [n_steps, n_beams, N_BACK_POINTER_FIELDS], as the device leaves them.
        sum_logprobs: [n_beams], of the beams after the last step.
    """
    tokens, sources = back_pointers[..., _TOKEN].tolist(), back_pointers[..., _SOURCE].tolist()

    def text(n_steps: int, beam: int) -> tuple[int, ...]:
        """Returns the tokens that a beam has sampled after so many steps."""
        traced = []
        for step in reversed(range(n_steps)):
            traced.append(tokens[step][beam])
            beam = sources[step][beam]
        return tuple(reversed(traced))

    scores = np.ascontiguousarray(back_pointers[..., _SCORE]).view(np.float32)
    steps, beams = np.nonzero(scores <= 0)
    ended = scores[steps, beams]
    candidates = [
        Candidate(text(steps[i], beams[i]), float(ended[i])) for i in np.lexsort((-ended, steps))
    ]
    unfinished = best_unfinished(len(candidates), sum_logprobs)
    n_steps = len(back_pointers)
    return candidates + [
        Candidate(text(n_steps, beam), float(sum_logprobs[beam])) for beam in unfinished
    ]
