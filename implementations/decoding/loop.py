"""The generic decoding loop: one window, one temperature, any implementation's session.

Source: `DecodingTask._main_loop` and `run` of whisper/decoding.py.
"""

import math
import time
from dataclasses import replace

import numpy as np

from implementations.decoding.beam import BeamSearch
from implementations.decoding.rules import RuleBook, probability_of
from implementations.decoding.sampling import SamplingSearch
from implementations.decoding.search import HypothesisSearch, best
from implementations.request import DecodedWindow, DecodeRequest
from implementations.session import DecoderSession


def decode_window(
    session: DecoderSession, request: DecodeRequest, start_time: float
) -> DecodedWindow:
    """Decodes one window through a fresh session.

    Args:
        session: Opened for `request.search.n_group` hypotheses, and fed nothing yet.
        request: The prompt, the token rules and the search.
        start_time: `time.perf_counter` before the session was opened.

    Raises:
        NonFiniteLogitsError: The model computes NaN or infinity.
    """
    rules, search = request.rules, _search_for(request)
    book = RuleBook(rules)
    last = len(request.prompt) - 1
    at_sot, at_last = session.prefill(request.prompt, (request.sot_index, last))
    prompt_seconds = time.perf_counter() - start_time
    no_speech_prob = (
        math.nan if rules.no_speech is None else probability_of(at_sot, rules.no_speech)
    )
    logits = np.repeat(at_last[None], request.search.n_group, axis=0)
    n_steps, steps_seconds = 0, 0.0
    source_indices = search.advance(logits, book.apply(logits, search.sampled))
    while True:
        n_sampled = len(search.sampled[0]) - request.n_given
        if search.is_complete or n_sampled >= request.max_tokens:
            break
        if source_indices is not None:
            session.reorder(source_indices)
        before_step = time.perf_counter()
        source_indices = search.step(session, book)
        steps_seconds += time.perf_counter() - before_step
        n_steps += 1
    candidates = [
        replace(candidate, tokens=candidate.tokens[request.n_given :])
        for candidate in search.candidates()
    ]
    winner = best(candidates, request.search.length_penalty)
    return DecodedWindow(
        winner.tokens,
        winner.sum_logprob,
        no_speech_prob,
        n_steps,
        prompt_seconds=prompt_seconds,
        steps_seconds=steps_seconds,
    )


def _search_for(request: DecodeRequest) -> HypothesisSearch:
    kind = BeamSearch if request.search.is_beam_search else SamplingSearch
    search = kind(request.search, request.rules.eot)
    given = request.prompt[len(request.prompt) - request.n_given :]
    for sampled in search.sampled:
        sampled.extend(given)
    return search
