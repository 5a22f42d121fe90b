"""A prompt fed at once: logits, what the cache holds afterwards, and the scores of chosen heads."""

from functools import cache

import numpy as np
import pytest

from tests.support import cpu_kernels
from tests.support.cpu_kernels import N_AUDIO_CTX, N_VOCAB
from tests.support.kernel_reference import STEP_TOLERANCE, assert_near, keys_of, values_of
from tests.support.random_decoder import Computed, RandomDecoder, decoder

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")
pytestmark = pytest.mark.max

TOKENS = np.random.default_rng(0).integers(0, N_VOCAB, 70).tolist()
N_TOKENS = [1, 3, 6, 7, 12, 13, 32, 33, 70]
"""Up to 6 go the way of a step; a tile has 12 rows, a panel 32 positions, the cache 70."""
NO_HEADS = np.zeros((0, 2), np.int32)


@cache
def computed(name: str, n_state: int = 128) -> Computed:
    return decoder(name, n_state).compute(TOKENS if n_state == 128 else TOKENS[:13])


def prefill(
    model: RandomDecoder, n: int, rows: list[int], heads: np.ndarray = NO_HEADS, n_slots: int = 1
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Logits, scores and caches."""
    from max.driver import Buffer

    scores = np.full((len(heads), n, N_AUDIO_CTX), np.nan, np.float32)
    caches = model.new_caches(n_slots)
    inputs = [np.array(numbers, np.int32) for numbers in (TOKENS[:n], rows)]
    (logits,) = model.run("prefill", Buffer.from_numpy(scores), *inputs, heads, caches=caches)
    return logits, scores, caches


@pytest.mark.parametrize("name", cpu_kernels.DECODERS)
@pytest.mark.parametrize("n", N_TOKENS)
def test_prompts_of_every_length(name: str, n: int) -> None:
    model, expected = decoder(name), computed(name)
    rows = [n - 1, 0, n // 2, n - 1]
    logits, _, caches = prefill(model, n, rows, n_slots=2)
    tolerance = STEP_TOLERANCE[name]
    assert_near(logits, expected.logits[rows], tolerance)
    for layer, (k, v) in enumerate(expected.kv):
        keys, values = caches[2 * layer : 2 * layer + 2]
        assert_near(keys_of(keys[:1], n)[0], k[:, :n], tolerance)
        assert_near(values_of(values[:1], n, model.head_dim)[0], v[:, :n], tolerance)
        assert np.isnan(keys[1]).all(), "only the first slot is the prompt's"
        assert np.isnan(values[1]).all()


@pytest.mark.parametrize("n_state", [80, 384, 512, 768, 1024, 1280])
@pytest.mark.parametrize("n", [5, 13])
def test_every_width(n_state: int, n: int) -> None:
    logits, _, _ = prefill(decoder("float16", n_state), n, [0, n - 1])
    expected = computed("float16", n_state).logits[[0, n - 1]]
    assert_near(logits, expected, STEP_TOLERANCE["float16"])


@pytest.mark.parametrize("name", cpu_kernels.DECODERS)
@pytest.mark.parametrize("n", [1, 6, 7, 13])
def test_more_logits_than_tokens(name: str, n: int) -> None:
    rows = [*range(n), *range(n), n - 1]
    logits, _, _ = prefill(decoder(name), n, rows)
    assert_near(logits, computed(name).logits[rows], STEP_TOLERANCE[name])


@pytest.mark.parametrize("name", cpu_kernels.DECODERS)
@pytest.mark.parametrize("n", [1, 6, 7, 33])
def test_scores_of_chosen_heads_in_the_order_asked(name: str, n: int) -> None:
    heads = np.array([[1, 3], [0, 0], [1, 0], [0, 2], [1, 3]], np.int32)
    logits, scores, _ = prefill(decoder(name), n, [n - 1], heads)
    expected = computed(name)
    by_head = np.stack([expected.scores[layer][head, :n] for layer, head in heads])
    assert_near(scores, by_head, STEP_TOLERANCE[name])
    assert_near(logits, expected.logits[[n - 1]], STEP_TOLERANCE[name])
