"""Rules and hypotheses in the form that the kernels read, as kernels/choose.mojo has it."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from implementations.decoding.request import TokenRules
from implementations.max_graph.step_ops import N_STATE_FIELDS

TOKEN, OFFSET, N_SAMPLED, PENULTIMATE, LATEST, IS_FINISHED, LIMIT = range(7)
"""Of what a hypothesis knows of itself."""


def rule_numbers(rules: TokenRules) -> npt.NDArray[np.int32]:
    """The rules that are numbers; those of the first token are not among them."""
    return np.array([rules.eot, rules.timestamp_begin, rules.with_timestamps], np.int32)


def rule_mask(rules: TokenRules, n_vocab: int) -> npt.NDArray[np.uint8]:
    """Which tokens never come."""
    mask = np.zeros(n_vocab, np.uint8)
    mask[list(rules.suppressed)] = 1
    return mask


def hypothesis_states(
    sampled: Sequence[Sequence[int]], offset: int, timestamp_begin: int
) -> npt.NDArray[np.int32]:
    """[n_group, N_STATE_FIELDS] of texts that go on at a position; none is at its end."""
    states = np.zeros((len(sampled), N_STATE_FIELDS), np.int32)
    states[:, OFFSET], states[:, LATEST] = offset, -1
    for state, tokens in zip(states, sampled, strict=True):
        state[TOKEN], state[N_SAMPLED] = tokens[-1], len(tokens)
        state[PENULTIMATE] = tokens[-2] if len(tokens) > 1 else 0
        state[LATEST] = next((t for t in reversed(tokens) if t >= timestamp_begin), -1)
    return states
