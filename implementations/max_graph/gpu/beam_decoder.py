"""Beam search: which beam went on as which is noted on the device, and read when all have ended."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from max.driver import Buffer
from max.dtype import DType

from implementations.decoding.beam import best_unfinished
from implementations.decoding.search import Candidate
from implementations.max_graph.gpu.device_decoder import Runner
from implementations.max_graph.gpu.graphs.ops import N_NOTES
from implementations.max_graph.gpu.session import DecoderModels
from implementations.request import DecodeRequest

_TOKEN, _SOURCE, _ENDED = range(N_NOTES)
"""As in kernels/beams.mojo."""


class BeamRunner(Runner):
    """A row is a beam; `MOST` - 1 of a window at most."""

    first_graph: ClassVar[str] = "beam_first"
    step_graph: ClassVar[str] = "beam_step"

    def __init__(self, models: DecoderModels, audio: Buffer, n_group: int) -> None:
        super().__init__(models, audio, n_group)
        shape = (self.n_windows, models.dims.n_text_ctx, n_group, N_NOTES)
        self._notes = Buffer.zeros(shape, DType.int32, models.device)

    def choice_inputs(self) -> tuple[Buffer, ...]:
        """States, sums of log-probabilities, notes; rules, mask."""
        return (
            self.states,
            self.sum_logprobs,
            self._notes,
            self.rules.numbers,
            self.rules.mask,
        )

    def candidates(
        self, n_sampled: Sequence[int], requests: Sequence[DecodeRequest]
    ) -> list[list[Candidate]]:
        """Of each window those that ended, filled up with the best unfinished ones."""
        del requests
        notes = self._notes.to_numpy()
        sums = self.sum_logprobs.to_numpy().reshape(self.n_windows, -1)
        n_steps = n_sampled[:: self.n_group]
        return [
            hypotheses(of_window[:n], sums_of_window)
            for of_window, n, sums_of_window in zip(notes, n_steps, sums, strict=True)
        ]

    def _first_inputs(self) -> tuple[Buffer, ...]:
        return (self.slots, *self.choice_inputs())


def hypotheses(
    notes: npt.NDArray[np.int32], sum_logprobs: npt.NDArray[np.float32]
) -> list[Candidate]:
    """A window's candidates, in the order of `BeamSearch.candidates`.

    Args:
        notes: [n_steps, n_beams, N_NOTES], what the device left of each step.
        sum_logprobs: [n_beams], of the beams after the last step.
    """
    tokens, sources = notes[..., _TOKEN].tolist(), notes[..., _SOURCE].tolist()

    def text(n_steps: int, beam: int) -> tuple[int, ...]:
        """What a beam had sampled after so many steps."""
        found = []
        for step in reversed(range(n_steps)):
            found.append(tokens[step][beam])
            beam = sources[step][beam]
        return tuple(reversed(found))

    scores = np.ascontiguousarray(notes[..., _ENDED]).view(np.float32)
    steps, beams = np.nonzero(scores <= 0)
    ended = scores[steps, beams]
    found = [
        Candidate(text(steps[i], beams[i]), float(ended[i])) for i in np.lexsort((-ended, steps))
    ]
    going_on = best_unfinished(len(found), sum_logprobs)
    found += [Candidate(text(len(notes), beam), float(sum_logprobs[beam])) for beam in going_on]
    return found
