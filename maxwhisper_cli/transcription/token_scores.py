"""Log-probabilities of single tokens: the model is shown a text that it has decoded.

They are the model's own, before the rules that mask tokens and without a temperature.
"""

import numpy as np

from implementations.implementation import Implementation
from maxwhisper_cli.transcription.steps import Scoring


def score_tokens(implementation: Implementation, need: Scoring) -> tuple[float, ...]:
    """Returns the natural logarithm of the probability of each token, after all before it."""
    n_prompt, n_tokens = len(need.prompt), len(need.tokens)
    if not n_tokens:
        return ()
    positions = range(n_prompt - 1, n_prompt + n_tokens - 1)
    with implementation.start(need.features, 1) as session:
        logits = session.prefill((*need.prompt, *need.tokens), positions).astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    chosen = logits[np.arange(n_tokens), list(need.tokens)]
    logprobs = chosen - np.log(np.exp(logits).sum(axis=1))
    return tuple(map(float, logprobs))
