"""A text fed at once: the probability of each of its tokens, and the scores of chosen heads."""

import numpy as np
import pytest

from tests.support import cpu_kernels
from tests.support.cpu_kernels import N_AUDIO_CTX, N_VOCAB
from tests.support.kernel_reference import STEP_TOLERANCE, assert_near, keys_of
from tests.support.layers import softmax
from tests.support.random_decoder import RandomDecoder, decoder

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")
pytestmark = pytest.mark.max

TOKENS = np.random.default_rng(0).integers(0, N_VOCAB, 70).tolist()
HEADS = np.array([[1, 3], [0, 0], [1, 0]], np.int32)
N_TOKENS = [4, 6, 15, 16, 17, 70]
"""Texts of 1, 3, 12, 13, 14 and 67 tokens; a tile has 12 rows, or 6."""


def probabilities(
    model: RandomDecoder, tokens: list[int], n_sot: int, eot: int
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Probabilities, scores and caches."""
    from max.driver import Buffer

    scores = np.full((len(HEADS), len(tokens), N_AUDIO_CTX), np.nan, np.float32)
    caches = model.new_caches(1)
    text = tokens[n_sot + 1 : -1]
    fields = (n_sot, len(tokens), N_AUDIO_CTX, eot)
    inputs = [np.array(numbers, np.int32) for numbers in (tokens, text)]
    (found,) = model.run(
        "prefill_probs",
        Buffer.from_numpy(scores),
        *(*inputs, HEADS, np.array(fields, np.int32)),
        caches=caches,
    )
    return found, scores, caches


@pytest.mark.parametrize("name", cpu_kernels.DECODERS)
@pytest.mark.parametrize("n", N_TOKENS)
@pytest.mark.parametrize("eot", [N_VOCAB, 900, 896])
def test_texts_of_every_length(name: str, n: int, eot: int) -> None:
    model = decoder(name)
    tokens = [token % eot for token in TOKENS[:n]]
    tokens[n // 2] = eot - 1
    expected = model.compute(tokens)
    found, scores, caches = probabilities(model, tokens, 1, eot)
    logits = expected.logits[1 : n - 2, :eot]
    assert_near(found, softmax(logits)[np.arange(n - 3), tokens[2:-1]], 5 * STEP_TOLERANCE[name])
    by_head = np.stack([expected.scores[layer][head] for layer, head in HEADS])
    assert_near(scores, by_head, STEP_TOLERANCE[name])
    assert_near(keys_of(caches[0], n)[0], expected.kv[0][0], STEP_TOLERANCE[name])


@pytest.mark.parametrize("n_state", [80, 384, 512, 768, 1024, 1280])
def test_every_width(n_state: int) -> None:
    model, tokens = decoder("float16", n_state), TOKENS[:13]
    found, _, _ = probabilities(model, tokens, 3, N_VOCAB)
    expected = softmax(model.compute(tokens).logits)[np.arange(3, 11), tokens[4:12]]
    assert_near(found, expected, 5 * STEP_TOLERANCE["float16"])
