"""whisper_gpu_token_probs beside NumPy: softmax over the first tokens, for a token of each line."""

import numpy as np
import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from implementations.max_graph.gpu.graphs.alignment_ops import token_probs
from implementations.max_graph.graphs.aligned_text import N_TEXT_FIELDS
from tests.support import layers
from tests.support.gpu_ops import F32, I32, GpuOps, OneOp, normal, tensor
from tests.support.hardware import needs_max_gpu

pytestmark = [pytest.mark.gpu, needs_max_gpu]

OPS = GpuOps(
    probs=OneOp(
        (
            tensor(F32, 1, "n_lines", "n_vocab"),
            tensor(I32, "n_lines"),
            tensor(I32, "n_rows", N_TEXT_FIELDS),
        ),
        token_probs,
    )
)


@pytest.mark.parametrize(
    ("n_vocab", "n_classes"), [(10, 4), (257, 255), (257, 256), (51866, 50257)]
)
@pytest.mark.parametrize("n_lines", [1, 3, 224])
def test_probabilities(n_lines: int, n_vocab: int, n_classes: int) -> None:
    logits = normal(1, n_lines, n_vocab, scale=4.0)
    logits[0, :, n_classes:] = 100  # what counts for no probability
    logits[0, -1, 1] = -np.inf
    targets = np.random.default_rng(1).integers(0, n_classes, n_lines)
    targets[-1] = n_classes - 1
    (found,) = OPS.run("probs", logits, targets, np.array([(1, 9, 9, n_classes)]))
    probabilities = layers.softmax(logits[0, :, :n_classes].astype(np.float64))
    np.testing.assert_allclose(found, probabilities[np.arange(n_lines), targets], rtol=2e-5)
