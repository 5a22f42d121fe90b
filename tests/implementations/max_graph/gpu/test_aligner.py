"""Groups of texts that are aligned together on a GPU: as many as fit, of the same heads."""

from dataclasses import replace

import pytest

from implementations.alignment import AlignmentRequest
from weights.dims import ModelDimensions

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from implementations.max_graph.gpu.aligner import text_groups

DIMS = ModelDimensions(80, 1500, 384, 6, 4, 51864, 448, 384, 6, 4)
SHORT = AlignmentRequest((50257,), 50362, (5,) * 97, 50256, 1500, ((1, 2), (3, 4)))
LONG = replace(SHORT, text=(5,) * 440)


@pytest.mark.parametrize("n_texts", [0, 1, 2, 48])
def test_texts_that_fit_go_together(n_texts: int) -> None:
    """A text of 100 tokens takes 22 MB."""
    expected = [range(n_texts)] if n_texts else []
    assert list(text_groups(DIMS, [SHORT] * n_texts)) == expected


def test_texts_are_padded_to_the_longest() -> None:
    assert list(text_groups(DIMS, [SHORT] * 60)) == [range(48), range(48, 60)]
    groups = list(text_groups(DIMS, [*[SHORT] * 30, LONG, *[SHORT] * 3]))
    assert groups == [range(30), range(30, 34)]


def test_other_heads_or_ends_of_text_go_apart() -> None:
    others = [replace(SHORT, heads=((0, 0),)), replace(SHORT, eot=50257)]
    groups = list(text_groups(DIMS, [SHORT, *others, SHORT, SHORT]))
    assert groups == [range(1), range(1, 2), range(2, 3), range(3, 5)]


def test_a_text_that_is_too_long_goes_alone() -> None:
    many_heads = replace(LONG, heads=tuple((i, j) for i in range(32) for j in range(20)))
    assert list(text_groups(DIMS, [many_heads] * 2)) == [range(1), range(1, 2)]
