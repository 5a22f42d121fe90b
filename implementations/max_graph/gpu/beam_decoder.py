"""Beam search on the device: back pointers stay there, and are traced when all beams have ended."""

from typing import ClassVar

import numpy as np
import numpy.typing as npt
from max.driver import Buffer
from max.dtype import DType

from implementations.decoding.beam import best_unfinished
from implementations.decoding.search import Candidate
from implementations.max_graph.gpu.device_decoder import Arrays, Buffers, DeviceDecoder
from implementations.max_graph.gpu.graphs.choice_ops import (
    BACK_POINTER_FIELDS,
    N_BACK_POINTER_FIELDS,
)
from implementations.request import DecodeRequest

_TOKEN, _SOURCE, _SCORE = (
    BACK_POINTER_FIELDS.index(field) for field in ("token", "source", "score")
)


class BeamDecoder(DeviceDecoder):
    """Beam search; a row is a beam, and a window has at most `TOP_K` - 1 of them."""

    first_graph: ClassVar[str] = "beam_first"
    step_graph: ClassVar[str] = "beam_step"
    results: ClassVar[tuple[str, ...]] = ("states", "sum_logprobs", "back_pointers")

    def new_buffers(self, n_windows: int) -> Buffers:
        """Returns what is known of so many windows: also the back pointers of their beams."""
        shape = (n_windows, self.models.dims.n_text_ctx, self.n_group, N_BACK_POINTER_FIELDS)
        back_pointers = Buffer.zeros(shape, DType.int32, self.models.device)
        return super().new_buffers(n_windows) | {"back_pointers": back_pointers}

    def choice_inputs(self, buffers: Buffers) -> tuple[Buffer, ...]:
        """Returns states, sums of log-probabilities, back pointers; rules, mask."""
        return *(buffers[name] for name in self.results), self.rules.numbers, self.rules.mask

    def first_inputs(self, buffers: Buffers) -> tuple[Buffer, ...]:
        """Returns the slots, and what `choice_inputs` does."""
        return buffers["slots"], *self.choice_inputs(buffers)

    def candidates(self, arrays: Arrays, n_sampled: int, request: DecodeRequest) -> list[Candidate]:
        """Returns a window's finished hypotheses, filled up with the best unfinished ones."""
        del request
        return hypotheses(arrays["back_pointers"][0, :n_sampled], arrays["sum_logprobs"])


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
