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
from implementations.errors import NonFiniteLogitsError
from implementations.request import DecodedWindow, DecodeRequest
from implementations.session import DecoderSession


class WindowDecoding:
    """A window whose prompt has been fed and whose first tokens are chosen; steps follow."""

    def __init__(
        self, session: DecoderSession, request: DecodeRequest, start_time: float | None = None
    ) -> None:
        """Feeds the prompt to a fresh session, and chooses the first tokens.

        Args:
            session: Opened for `request.search.n_group` hypotheses, and fed nothing yet.
            request: The prompt, the token rules and the search.
            start_time: `time.perf_counter` before the session was opened.

        Raises:
            NonFiniteLogitsError: The model computes NaN or infinity.
        """
        start_time = time.perf_counter() if start_time is None else start_time
        self.session = session
        self.request = request
        self.search = _search_for(request)
        self.book = RuleBook(request.rules)
        self.steps_seconds = 0.0
        """Seconds of all steps so far, this window's share."""
        self.error: NonFiniteLogitsError | None = None
        """Set where the model computed NaN or infinity: the window has ended."""
        self._n_steps = 0
        last = len(request.prompt) - 1
        at_sot, at_last = session.prefill(request.prompt, (request.sot_index, last))
        self._prompt_seconds = time.perf_counter() - start_time
        no_speech = request.rules.no_speech
        self._no_speech_prob = math.nan if no_speech is None else probability_of(at_sot, no_speech)
        logits = np.repeat(at_last[None], request.search.n_group, axis=0)
        logsumexp = self.book.apply(logits, self.search.sampled)
        self._source_indices = self.search.advance(logits, logsumexp)

    @property
    def is_complete(self) -> bool:
        """True once no further step is needed."""
        n_sampled = len(self.search.sampled[0]) - self.request.n_given
        at_limit = n_sampled >= self.request.max_tokens
        return self.search.is_complete or at_limit or self.error is not None

    def reorder(self) -> None:
        """Moves the session's caches to where the last choice of tokens left each hypothesis."""
        if self._source_indices is not None:
            self.session.reorder(self._source_indices)

    def take(self, source_indices: list[int] | None, seconds: float) -> None:
        """Counts a step, whose tokens the search has taken, as it returned them."""
        self._source_indices = source_indices
        self.steps_seconds += seconds
        self._n_steps += 1

    def step(self) -> None:
        """Takes a step through the session."""
        self.reorder()
        before = time.perf_counter()
        source_indices = self.search.step(self.session, self.book)
        self.take(source_indices, time.perf_counter() - before)

    def result(self) -> DecodedWindow:
        """Returns the best hypothesis.

        Raises:
            NonFiniteLogitsError: The model computed NaN or infinity.
        """
        if self.error is not None:
            raise self.error
        request = self.request
        candidates = [
            replace(candidate, tokens=candidate.tokens[request.n_given :])
            for candidate in self.search.candidates()
        ]
        winner = best(candidates, request.search.length_penalty)
        return DecodedWindow(
            winner.tokens,
            winner.sum_logprob,
            self._no_speech_prob,
            self._n_steps,
            prompt_seconds=self._prompt_seconds,
            steps_seconds=self.steps_seconds,
        )


def decode_window(
    session: DecoderSession, request: DecodeRequest, start_time: float
) -> DecodedWindow:
    """Decodes one window through a fresh session; arguments as `WindowDecoding` takes them.

    Raises:
        NonFiniteLogitsError: The model computes NaN or infinity.
    """
    window = WindowDecoding(session, request, start_time)
    while not window.is_complete:
        window.step()
    return window.result()


def _search_for(request: DecodeRequest) -> HypothesisSearch:
    kind = BeamSearch if request.search.is_beam_search else SamplingSearch
    search = kind(request.search, request.rules.eot)
    given = request.prompt[len(request.prompt) - request.n_given :]
    for sampled in search.sampled:
        sampled.extend(given)
    return search
