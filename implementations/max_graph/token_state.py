"""Rules and hypotheses as the arrays that kernels read; graphs/token_state.py names the fields."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from implementations.max_graph.graphs.token_state import (
    LATEST,
    N_SAMPLED,
    N_STATE_FIELDS,
    NEVER,
    NOT_FIRST,
    OFFSET,
    PENULTIMATE,
    RULE_FIELDS,
    TOKEN,
)
from implementations.request import TokenRules

_ABSENT = -1


def rule_numbers(rules: TokenRules) -> npt.NDArray[np.int32]:
    """Returns the rules that are numbers, [N_RULES]."""
    numbers = [getattr(rules, field) for field in RULE_FIELDS]
    return np.array([_ABSENT if number is None else number for number in numbers], np.int32)


def rule_mask(rules: TokenRules, n_vocab: int) -> npt.NDArray[np.uint8]:
    """Returns the mask of tokens that are never allowed, or not as the first, [n_vocab]."""
    mask = np.zeros(n_vocab, np.uint8)
    mask[list(rules.suppressed)] |= NEVER
    mask[list(rules.suppressed_first)] |= NOT_FIRST
    return mask


def hypothesis_states(
    sampled: Sequence[Sequence[int]], offset: int, timestamp_begin: int
) -> npt.NDArray[np.int32]:
    """Returns the states of unfinished hypotheses, [n_group, N_STATE_FIELDS].

    Args:
        sampled: Tokens of each hypothesis so far.
        offset: Position of the latest ones.
        timestamp_begin: First timestamp token.
    """
    states = np.zeros((len(sampled), N_STATE_FIELDS), np.int32)
    states[:, OFFSET], states[:, LATEST] = offset, -1
    for state, tokens in zip(states, sampled, strict=True):
        state[TOKEN], state[N_SAMPLED] = tokens[-1], len(tokens)
        state[PENULTIMATE] = tokens[-2] if len(tokens) > 1 else 0
        state[LATEST] = next((t for t in reversed(tokens) if t >= timestamp_begin), -1)
    return states
