"""Greedy decoding by blocks of tokens, through the graph `greedy`.

The first token is chosen as in the generic loop, whose results these are.
"""

import math
import time

import numpy as np
from max.driver import Buffer

from implementations.decoding.rules import RuleBook, probability_of
from implementations.max_graph.cpu.session import MaxSession
from implementations.max_graph.graphs.token_state import (
    IS_FINISHED,
    LATEST,
    LIMIT,
    N_SAMPLED,
    N_STATE_FIELDS,
    OFFSET,
    TOKEN,
)
from implementations.max_graph.token_state import rule_mask, rule_numbers
from implementations.request import DecodedWindow, DecodeRequest


def decode_greedily(session: MaxSession, request: DecodeRequest, began: float) -> DecodedWindow:
    """Decodes one window through a fresh session: the most likely token at each step.

    Args:
        session: A session of one hypothesis.
        request: Prompt, rules and limits.
        began: Time by `time.perf_counter` when the session was about to be opened.
    """
    rules, prompt = request.rules, request.prompt
    at_sot, at_last = session.prefill(prompt, (request.sot_index, len(prompt) - 1))
    prefilled = time.perf_counter()
    no_speech_prob = (
        math.nan if rules.no_speech is None else probability_of(at_sot, rules.no_speech)
    )
    (logsumexp,) = RuleBook(rules).apply(at_last[None], [[]])
    first = int(at_last.argmax())
    sampled = [first]
    sum_logprob = np.array([at_last[first] - logsumexp], np.float32)
    state = np.zeros(N_STATE_FIELDS, np.int32)
    state[[TOKEN, OFFSET, N_SAMPLED, LIMIT]] = first, len(prompt), 1, request.max_tokens
    state[LATEST] = first if first >= rules.timestamp_begin else -1
    state[IS_FINISHED] = first == rules.eot or request.max_tokens <= 1
    arrays = (state, sum_logprob, rule_numbers(rules), rule_mask(rules, len(at_last)))
    buffers = [Buffer.from_numpy(array) for array in arrays]
    while not state[IS_FINISHED]:
        tokens = session.run_greedy(buffers)
        sampled += tokens[: state[N_SAMPLED] - len(sampled)].tolist()
    text = sampled[:-1] if sampled[-1] == rules.eot else sampled
    return DecodedWindow(
        tuple(text),
        float(sum_logprob[0]),
        no_speech_prob,
        len(sampled) - 1,
        prompt_seconds=prefilled - began,
        steps_seconds=time.perf_counter() - prefilled,
    )
