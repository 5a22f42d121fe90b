"""One token for each hypothesis: logits, and what is written to the cache."""

from functools import cache

import numpy as np
import pytest

from implementations.max_graph.cpu.graphs.layouts import n_panels
from tests.support import cpu_kernels
from tests.support.cpu_kernels import N_VOCAB
from tests.support.kernel_reference import STEP_TOLERANCE, assert_near, keys_of, values_of
from tests.support.random_decoder import Computed, decoder

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")
pytestmark = pytest.mark.max

N_TEXTS, N_TEXT_CTX = 9, 70
TEXTS = np.random.default_rng(0).integers(0, N_VOCAB, (N_TEXTS, N_TEXT_CTX)).tolist()


@cache
def computed(name: str, n_state: int, text: int) -> Computed:
    return decoder(name, n_state).compute(TEXTS[text] if n_state == 128 else TEXTS[text][:14])


def own_slots(n_group: int) -> np.ndarray:
    """Each hypothesis has all its panels in a slot of its own."""
    return np.repeat(np.arange(n_group, dtype=np.int32)[:, None], n_panels(N_TEXT_CTX), 1)


def assert_steps(name: str, n_state: int, n_group: int, at: int) -> None:
    """Texts of their own in slots of their own, at one position."""
    model = decoder(name, n_state)
    expected = [computed(name, n_state, i % N_TEXTS) for i in range(n_group)]
    caches = model.new_caches(n_group)
    for slot, each in enumerate(expected):
        model.fill(caches, slot, each, at)
    tokens = np.array([TEXTS[i % N_TEXTS][at] for i in range(n_group)], np.int32)
    slots, source_slots = own_slots(n_group), np.arange(n_group, dtype=np.int32)
    offset = np.array([at], np.int32)
    (logits,) = model.run("decode_step", tokens, offset, slots, source_slots, caches=caches)
    assert_near(logits, np.stack([each.logits[at] for each in expected]), STEP_TOLERANCE[name])
    for layer in range(len(model.blocks)):
        keys, values = caches[2 * layer : 2 * layer + 2]
        k, v = (np.stack([each.kv[layer][i] for each in expected]) for i in range(2))
        found_k = keys_of(keys, N_TEXT_CTX)
        found_v = values_of(values, N_TEXT_CTX, model.head_dim)
        for found, whole in ((found_k, k), (found_v, v)):
            assert_near(found[:, :, : at + 1], whole[:, :, : at + 1], STEP_TOLERANCE[name])
            assert np.isnan(found[:, :, at + 1 :]).all(), "nothing is written behind the token"


@pytest.mark.parametrize("name", cpu_kernels.DECODERS)
@pytest.mark.parametrize("n_group", [*range(1, 10), 33])
def test_groups_of_every_size(name: str, n_group: int) -> None:
    assert_steps(name, 128, n_group, 33)


@pytest.mark.parametrize("name", cpu_kernels.DECODERS)
@pytest.mark.parametrize("at", [0, 1, 31, 32, 63, 64, 69])
def test_positions_at_the_ends_of_panels_and_of_the_cache(name: str, at: int) -> None:
    assert_steps(name, 128, 2, at)


@pytest.mark.parametrize("n_state", [80, 384, 512, 768, 1024, 1280])
def test_every_width(n_state: int) -> None:
    assert_steps("float16", n_state, 3, 13)


@pytest.mark.parametrize("name", cpu_kernels.DECODERS)
def test_hypotheses_share_full_panels_and_copy_the_last(name: str) -> None:
    """Three go on from one text of 40 tokens: its first panel is shared, its second is copied."""
    model, at = decoder(name), 40
    caches = model.new_caches(4)
    model.fill(caches, 2, computed(name, 128, 0), at)
    others = [cache[3].copy() for cache in caches]
    new = [3, 500, 1002]
    slots = np.array([[2, 2, 0], [2, 0, 0], [2, 1, 0]], np.int32)
    source_slots = np.array([2, 2, 2], np.int32)
    tokens, offset = np.array(new, np.int32), np.array([at], np.int32)
    (logits,) = model.run("decode_step", tokens, offset, slots, source_slots, caches=caches)
    texts = [[*TEXTS[0][:at], token] for token in new]
    expected = [model.compute(text) for text in texts]
    assert_near(logits, np.stack([each.logits[at] for each in expected]), STEP_TOLERANCE[name])
    for layer in range(len(model.blocks)):
        for each, row in zip(expected, slots, strict=True):
            panel = caches[2 * layer][row[1] : row[1] + 1, :, 1:2]
            k = each.kv[layer][0][:, 32 : at + 1]
            assert_near(keys_of(panel, at + 1 - 32)[0], k, STEP_TOLERANCE[name])
    for cache_, before in zip(caches, others, strict=True):
        np.testing.assert_array_equal(cache_[3], before)


@pytest.mark.parametrize("name", cpu_kernels.DECODERS)
def test_a_row_is_the_same_bits_beside_any_number_of_others(name: str) -> None:
    """Sums are made in one order, whatever rows a pass over the weights has."""
    model, at = decoder(name), 33

    def logits_of(n_group: int) -> np.ndarray:
        caches = model.new_caches(n_group)
        for slot in range(n_group):
            model.fill(caches, slot, computed(name, 128, slot % N_TEXTS), at)
        tokens = np.array([TEXTS[i % N_TEXTS][at] for i in range(n_group)], np.int32)
        rows = own_slots(n_group), np.arange(n_group, dtype=np.int32)
        (logits,) = model.run("decode_step", tokens, np.array([at], np.int32), *rows, caches=caches)
        return logits

    expected = logits_of(17)
    assert len(np.unique(expected[:N_TEXTS], axis=0)) == N_TEXTS
    for n_group in range(1, 17):
        np.testing.assert_array_equal(logits_of(n_group), expected[:n_group])
