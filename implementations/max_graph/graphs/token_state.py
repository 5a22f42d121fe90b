"""Fields of the arrays in which kernels read rules and hypotheses."""

N_STATE_FIELDS = 8
"""Integers that describe a hypothesis."""
TOKEN, OFFSET, N_SAMPLED, PENULTIMATE, LATEST, IS_FINISHED, LIMIT, ENDINGS_LEFT = range(8)
"""Indices of these integers; the last is read on a GPU only."""
N_RULES = 5
"""Integers that describe the rules; the last two, for first tokens, are read on a GPU only."""
