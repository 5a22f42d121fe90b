"""Hypotheses that are reordered as they grow."""

from collections.abc import Iterator, Sequence

import numpy as np

from implementations.session import DecoderSession, FloatArray


def grown(
    session: DecoderSession, prompt: Sequence[int], n_vocab: int
) -> Iterator[tuple[list[int], FloatArray]]:
    """Each text of five hypotheses after each of four reorderings, and the logits after it.

    The session is one of five hypotheses that has been fed the prompt.
    """
    generator = np.random.default_rng(2)
    texts = [list(prompt)] * 5
    for sources in ([0, 1, 2, 3, 4], [1, 0, 3, 4, 2], [0, 0, 0, 4, 4], [4, 3, 2, 1, 0]):
        session.reorder(sources)
        new = generator.integers(0, n_vocab, 5)
        texts = [[*texts[source], int(token)] for source, token in zip(sources, new, strict=True)]
        yield from zip(texts, session.step(new), strict=True)
