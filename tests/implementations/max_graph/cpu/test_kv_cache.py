"""Slots of hypotheses' panels, against copying whole pasts; no kernels."""

import numpy as np
import pytest

from implementations.max_graph.cpu.graphs.layouts import PANEL
from tests.support.checkpoints import SMALL_DIMS

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")


@pytest.mark.parametrize("n_prompt", [1, PANEL - 1, PANEL, 3 * PANEL + 5])
def test_every_hypothesis_keeps_its_own_past(n_prompt: int) -> None:
    from implementations.max_graph.cpu.kv_cache import KVCache

    generator = np.random.default_rng(n_prompt)
    n_group = 5
    cache = KVCache(SMALL_DIMS, n_group)
    stored = np.full((n_group, SMALL_DIMS.n_text_ctx), -1)  # by slot: what a key would be
    stored[0, :n_prompt] = np.arange(n_prompt)
    cache.advance(n_prompt)
    pasts = [list(range(n_prompt)) for _ in range(n_group)]
    for step in range(3 * PANEL):
        if step:
            sources = generator.integers(0, n_group, n_group).tolist()
            cache.reorder(sources)
            pasts = [list(pasts[source]) for source in sources]
        source_slots = cache.make_tail_panels_unique()
        panel = cache.n_filled // PANEL
        assert len(set(cache.slots[:, panel])) == n_group, "two would write to one place"
        positions = slice(panel * PANEL, (panel + 1) * PANEL)
        before = stored.copy()
        for row in range(n_group):
            stored[cache.slots[row, panel], positions] = before[source_slots[row], positions]
            stored[cache.slots[row, panel], cache.n_filled] = 1000 * step + row
            pasts[row].append(1000 * step + row)
        cache.advance(1)
        where = np.repeat(cache.slots, PANEL, axis=1)[:, : cache.n_filled]
        np.testing.assert_array_equal(stored[where, np.arange(cache.n_filled)], pasts)
