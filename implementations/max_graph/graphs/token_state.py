"""Fields of the arrays in which kernels read rules and hypotheses."""

STATE_FIELDS = (
    "token",
    "offset",
    "n_sampled",
    "penultimate",
    "latest",
    "is_finished",
    "limit",
    "endings_left",
)
"""Integers that describe a hypothesis, in their order; the last is read on a GPU only.

They are the token to feed next and its position, how many were sampled, the token before, the
latest timestamp or -1, whether the text has ended, and how many may be sampled.
"""
N_STATE_FIELDS = len(STATE_FIELDS)
TOKEN, OFFSET, N_SAMPLED, PENULTIMATE, LATEST, IS_FINISHED, LIMIT, ENDINGS_LEFT = range(
    N_STATE_FIELDS
)
RULE_FIELDS = ("eot", "timestamp_begin", "with_timestamps", "max_initial_timestamp", "no_speech")
"""Integers that describe the rules; the last two, for first tokens, are read on a GPU only."""
N_RULES = len(RULE_FIELDS)
NEVER, NOT_FIRST = 1, 2
"""Bits of the mask of tokens: never sampled, and not sampled first."""
