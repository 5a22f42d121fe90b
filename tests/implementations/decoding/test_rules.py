"""The token rules against openai-whisper's logit filters, on random logits and histories."""

import numpy as np
import pytest
import torch
from whisper.decoding import ApplyTimestampRules, SuppressBlank, SuppressTokens
from whisper.tokenizer import get_tokenizer

from implementations.decoding.rules import RuleBook, probability_of
from implementations.errors import NonFiniteLogitsError
from implementations.request import DecodedWindow, TokenRules

TOKENIZER = get_tokenizer(multilingual=False)
BEGIN, EOT = TOKENIZER.timestamp_begin, TOKENIZER.eot
N_VOCAB = 51864
SUPPRESSED = (1, 2, 7, 50361)
HISTORIES = [
    [],
    [BEGIN],
    [BEGIN + 4, 40],
    [BEGIN, 40, 41, BEGIN + 9],
    [BEGIN, 40, 41, BEGIN + 9, BEGIN + 9],
    [BEGIN, 40, BEGIN + 1500],
    [40, 41],
]


def theirs(logits: np.ndarray, history: list[int], max_initial: int | None) -> np.ndarray:
    tokens = torch.tensor([[TOKENIZER.sot, *history]])
    out = torch.from_numpy(logits.copy())
    for rule in (
        SuppressBlank(TOKENIZER, 1),
        SuppressTokens(SUPPRESSED),
        ApplyTimestampRules(TOKENIZER, 1, max_initial),
    ):
        rule.apply(out, tokens)
    return out.numpy()


def book(max_initial: int | None = 50) -> RuleBook:
    return RuleBook(
        TokenRules(
            eot=EOT,
            timestamp_begin=BEGIN,
            no_speech=TOKENIZER.no_speech,
            suppressed=(*SUPPRESSED, TOKENIZER.no_timestamps),
            suppressed_first=(*TOKENIZER.encode(" "), EOT),
            max_initial_timestamp=max_initial,
        )
    )


@pytest.mark.parametrize("timestamp_bias", [-5.0, 0.0, 3.0], ids=["text", "even", "timestamps"])
@pytest.mark.parametrize("max_initial", [None, 50])
@pytest.mark.parametrize("history", HISTORIES, ids=str)
def test_masks_what_whisper_masks(
    history: list[int], max_initial: int | None, timestamp_bias: float
) -> None:
    logits = np.random.default_rng(len(history)).normal(0, 4, (1, N_VOCAB)).astype(np.float32)
    logits[:, BEGIN:] += timestamp_bias
    expected = theirs(logits, history, max_initial)
    logsumexp = book(max_initial).apply(logits, [history])
    np.testing.assert_array_equal(np.isneginf(logits), np.isneginf(expected))
    reference = torch.log_softmax(torch.from_numpy(expected), -1).numpy()
    np.testing.assert_allclose(logits - logsumexp[:, None], reference, atol=1e-4)


def test_timestamp_rule_applies_to_each_row() -> None:
    histories = [[BEGIN, 40], [BEGIN, 41], [BEGIN, BEGIN]]
    logits = np.random.default_rng(0).normal(0, 4, (3, N_VOCAB)).astype(np.float32)
    logits[1, BEGIN:] += 20  # this row's timestamps outweigh its text
    book().apply(logits, histories)
    is_text_masked = np.isneginf(logits[:, :BEGIN]).all(axis=1)
    assert is_text_masked.tolist() == [False, True, False]


def test_probability_of_matches_softmax() -> None:
    logits = np.array([1.0, 2.0, 4.0], np.float32)
    assert probability_of(logits, 2) == pytest.approx(
        float(torch.softmax(torch.from_numpy(logits), 0)[2])
    )


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_non_finite_logits_are_an_error(number: float) -> None:
    logits = np.zeros((2, N_VOCAB), np.float32)
    logits[1, BEGIN + 3] = number
    with pytest.raises(NonFiniteLogitsError, match=r"not numbers.*--dtype float32"):
        book().apply(logits, [[], []])


@pytest.mark.parametrize("sum_logprob", [np.nan, -np.inf])
def test_text_without_likelihood_is_an_error(sum_logprob: float) -> None:
    with pytest.raises(NonFiniteLogitsError):
        DecodedWindow((1, 2), sum_logprob, no_speech_prob=0.5, n_steps=2)
