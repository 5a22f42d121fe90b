"""The most likely next tokens of each hypothesis under the rules, against the host's rules."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from implementations.decoding.rules import RuleBook
from implementations.max_graph.cpu.graphs.layouts import n_panels
from implementations.max_graph.token_state import hypothesis_states, rule_mask, rule_numbers
from implementations.request import TokenRules
from tests.support import cpu_kernels
from tests.support.cpu_kernels import N_VOCAB
from tests.support.kernel_reference import random
from tests.support.random_decoder import RandomDecoder, decoder

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")
pytestmark = pytest.mark.max

EOT, MANY_TIMES, FEW_TIMES = 900, 903, 1001
"""With a hundred timestamps their sum outweighs every text token, with two it does not."""
PROMPT = np.random.default_rng(0).integers(0, EOT, 40).tolist()
TOLERANCE = {"float32": 1e-4, "float16": 1e-4, "int8": 1e-2, "bfloat16": 5e-2}
"""Absolute, of log-probabilities. With an embedding in two bytes the sum is of the high bytes; with
bfloat16 attention to the audio is of 8 bits."""


def rules(begin: int, **changes: Any) -> TokenRules:
    suppressed = (EOT + 1, EOT + 2, 5, 6, 7)
    return replace(TokenRules(EOT, begin, None, suppressed), **changes)


def top_k(
    model: RandomDecoder, texts: Sequence[list[int]], sampled: Sequence[list[int]], book: TokenRules
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and log-probabilities, [n_group, n_group + 1]; texts end with what was sampled."""
    n_group, at = len(texts), len(texts[0]) - 1
    caches = model.new_caches(n_group)
    for slot, text in enumerate(texts):
        model.fill(caches, slot, model.compute(text), at)
    slots = np.repeat(np.arange(n_group, dtype=np.int32)[:, None], n_panels(model.n_text_ctx), 1)
    (choice,) = model.run(
        "top_k",
        hypothesis_states(sampled, at, book.timestamp_begin),
        rule_numbers(book),
        rule_mask(book, N_VOCAB),
        slots,
        np.arange(n_group, dtype=np.int32),
        caches=caches,
    )
    assert choice.shape == (n_group, 2, n_group + 1)
    tokens, logprobs = choice[:, 0].astype(int), choice[:, 1]
    logprobs[tokens < 0] = -np.inf  # as the session does
    return tokens, logprobs


def assert_ranked(
    model: RandomDecoder, texts: Sequence[list[int]], sampled: Sequence[list[int]], book: TokenRules
) -> np.ndarray:
    """The log-probabilities are the highest there are, and each is its token's own."""
    tokens, found = top_k(model, texts, sampled, book)
    logits = np.stack([model.compute(text).logits[-1] for text in texts]).astype(np.float32)
    logsumexps = RuleBook(book).apply(logits, sampled)
    logprobs = logits - logsumexps[:, None]
    highest = -np.sort(-logprobs, axis=1)[:, : tokens.shape[1]]
    tolerance = TOLERANCE[model.name]
    np.testing.assert_allclose(found, highest, rtol=0, atol=tolerance)
    own = np.where(tokens < 0, -np.inf, np.take_along_axis(logprobs, tokens, axis=1))
    np.testing.assert_allclose(found, own, rtol=0, atol=tolerance)
    for row in tokens:
        assert len(set(row[row >= 0])) == (row >= 0).sum(), "a token is there once"
    return tokens


@pytest.mark.parametrize("name", cpu_kernels.DECODERS)
@pytest.mark.parametrize("begin", [MANY_TIMES, FEW_TIMES])
@pytest.mark.parametrize("n_group", [1, 2, 3, 5, 9])
def test_groups_of_every_size(name: str, begin: int, n_group: int) -> None:
    sampled = [[begin, 3 + i, 10 * i] for i in range(n_group)]
    texts = [PROMPT[i : i + 12] + tokens for i, tokens in enumerate(sampled)]
    tokens = assert_ranked(decoder(name), texts, sampled, rules(begin))
    assert (tokens >= begin).all() == (begin == MANY_TIMES)


@pytest.mark.parametrize("name", cpu_kernels.DECODERS)
@pytest.mark.parametrize(
    "sampled",
    [
        [MANY_TIMES],
        [MANY_TIMES + 4, 17],
        [MANY_TIMES, 17, MANY_TIMES + 9],
        [MANY_TIMES, 17, MANY_TIMES + 9, MANY_TIMES + 9],
        [MANY_TIMES, 17, 18, MANY_TIMES + 99],
        [MANY_TIMES, 17, MANY_TIMES + 50, MANY_TIMES + 50, 18, 19],
        [17],
        [17, 18],
    ],
    ids=["opened", "text", "closed", "opened-again", "at-the-end", "later", "no-time", "texts"],
)
def test_timestamps_come_in_pairs_and_never_go_back(name: str, sampled: list[int]) -> None:
    texts = [PROMPT[: 20 - len(sampled)] + sampled]
    assert_ranked(decoder(name), texts, [sampled], rules(MANY_TIMES))
    assert_ranked(decoder(name), texts, [sampled], rules(MANY_TIMES, with_timestamps=False))


@pytest.mark.parametrize("name", cpu_kernels.DECODERS)
@pytest.mark.parametrize("at", [1, 31, 32, 33, 69])
def test_positions_at_the_ends_of_panels_and_of_the_cache(name: str, at: int) -> None:
    text = [*PROMPT, *PROMPT][: at + 1]
    assert_ranked(decoder(name), [text], [text[-1:]], rules(FEW_TIMES))


@pytest.mark.parametrize("name", cpu_kernels.DECODERS)
def test_of_equal_logits_the_lowest_token_comes_first(name: str) -> None:
    """Equal ones lie in one panel, in neighbouring ones, and in the last, which is not full."""
    equal = [40, 41, 70, 899]
    embedding = random(1, N_VOCAB, 128, scale=0.1)
    text = [token for token in PROMPT if token not in equal][:11]
    direction = RandomDecoder(name, 128, embedding=embedding).compute(text).states[-1]
    embedding[equal] = direction / np.abs(direction).max()
    model = RandomDecoder(name, 128, embedding=embedding)
    book = rules(FEW_TIMES, with_timestamps=False)
    texts = [text] * 5
    tokens, _ = top_k(model, texts, [text[-1:] for text in texts], book)
    np.testing.assert_array_equal(tokens[:, :4], [equal] * 5)


@pytest.mark.parametrize("name", cpu_kernels.DECODERS)
def test_fewer_tokens_that_may_come_than_asked_for(name: str) -> None:
    allowed = {3, 500}
    suppressed = tuple(token for token in range(N_VOCAB) if token not in allowed)
    book = rules(FEW_TIMES, suppressed=suppressed, with_timestamps=False)
    texts = [PROMPT[:9]] * 3
    tokens, logprobs = top_k(decoder(name), texts, [text[-1:] for text in texts], book)
    assert {*tokens[0, :2].tolist()} == allowed
    np.testing.assert_allclose(np.exp(logprobs[:, :2]).sum(axis=1), 1, rtol=TOLERANCE[name])
    assert (tokens[:, 2:] == -1).all()


@pytest.mark.parametrize("name", cpu_kernels.DECODERS)
def test_where_no_token_may_come_there_is_none(name: str) -> None:
    book = rules(FEW_TIMES, suppressed=tuple(range(N_VOCAB)))
    tokens, _ = top_k(decoder(name), [PROMPT[:9]], [PROMPT[8:9]], book)
    assert (tokens == -1).all()
