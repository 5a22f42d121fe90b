"""whisper_gpu_embed_tokens beside NumPy: rows at positions of their own, up to the last; exact."""

import numpy as np
import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from implementations.max_graph.gpu.graphs.ops import embed_tokens
from tests.support.gpu_ops import BF16, F16, F32, I32, GpuOps, OneOp, normal, rounded, tensor
from tests.support.hardware import needs_max_gpu

pytestmark = [pytest.mark.gpu, needs_max_gpu]

DTYPES = {"float32": F32, "float16": F16, "bfloat16": BF16}
N_VOCAB, N_CTX = 1003, 70

OPS = GpuOps(
    **{
        name: OneOp(
            (
                tensor(I32, "n_rows", "n_new"),
                tensor(I32, "n_rows"),
                tensor(dtype, "n_vocab", "n_state"),
                tensor(F32, "n_ctx", "n_state"),
            ),
            embed_tokens,
        )
        for name, dtype in DTYPES.items()
    }
)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("n_state", [80, 384, 1280])
@pytest.mark.parametrize(("n_rows", "n_new"), [(1, 1), (5, 1), (3, 7), (2, 33)])
def test_embed_tokens(name: str, n_rows: int, n_new: int, n_state: int) -> None:
    generator = np.random.default_rng(0)
    tokens = generator.integers(0, N_VOCAB, (n_rows, n_new))
    tokens.flat[0], tokens.flat[-1] = N_VOCAB - 1, 0
    offsets = generator.integers(0, N_CTX - n_new, n_rows)
    offsets[0] = N_CTX - n_new
    embedding, positional = normal(N_VOCAB, n_state), normal(N_CTX, n_state, seed=1)
    (found,) = OPS.run(name, tokens, offsets, embedding, positional)
    positions = offsets[:, None] + np.arange(n_new)
    expected = rounded(embedding, DTYPES[name])[tokens] + positional[positions]
    np.testing.assert_array_equal(found, expected)


def test_positions_beyond_the_last_are_the_last() -> None:
    embedding, positional = normal(N_VOCAB, 80), normal(N_CTX, 80, seed=1)
    (found,) = OPS.run("float32", np.zeros((1, 3)), np.array([N_CTX - 1]), embedding, positional)
    expected = embedding[0] + np.repeat(positional[None, -1:], 3, axis=1)
    np.testing.assert_array_equal(found, expected)
