"""whisper_gpu_no_speech_prob beside NumPy: of the first half of the lines, one for each window."""

import numpy as np
import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from max.graph import TensorValue

from implementations.max_graph.gpu.graphs.choice_ops import no_speech_prob
from implementations.max_graph.graphs.token_state import N_RULES
from implementations.max_graph.token_state import rule_numbers
from implementations.request import TokenRules
from tests.support import layers
from tests.support.gpu_ops import F32, I32, FloatArray, GpuOps, OneOp, normal, tensor
from tests.support.hardware import needs_max_gpu

pytestmark = [pytest.mark.gpu, needs_max_gpu]


def build(logits: TensorValue, rules: TensorValue, rows: TensorValue) -> TensorValue:
    return no_speech_prob(logits, rules, rows.shape[0])


OPS = GpuOps(
    no_speech_prob=OneOp(
        (tensor(F32, 1, "n_lines", "n_vocab"), tensor(I32, N_RULES), tensor(F32, "n_rows")), build
    )
)


def found(logits: FloatArray, n_rows: int, no_speech: int | None) -> FloatArray:
    rules = rule_numbers(TokenRules(eot=3, timestamp_begin=9, no_speech=no_speech))
    (probabilities,) = OPS.run("no_speech_prob", logits, rules, np.zeros(n_rows))
    return probabilities


@pytest.mark.parametrize("n_vocab", [10, 255, 256, 257, 51866])
@pytest.mark.parametrize(("n_windows", "n_group"), [(1, 1), (1, 5), (3, 1), (7, 5)])
def test_no_speech_prob(n_windows: int, n_group: int, n_vocab: int) -> None:
    logits = normal(1, 2 * n_windows, n_vocab, scale=4.0)
    logits[0, 0, 1:7] = -np.inf
    for token in (0, 8, n_vocab - 1):
        expected = layers.softmax(logits[0, :n_windows].astype(np.float64))[:, token]
        probabilities = found(logits, n_windows * n_group, token)
        np.testing.assert_allclose(probabilities, np.repeat(expected, n_group), rtol=2e-5)


def test_a_vocabulary_without_the_token_gives_nan() -> None:
    assert np.isnan(found(normal(1, 2, 100), 1, None)).all()
