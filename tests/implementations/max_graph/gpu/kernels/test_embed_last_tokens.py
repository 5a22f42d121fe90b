"""whisper_gpu_embed_last_tokens beside NumPy: each row's latest token at its position; exact."""

import numpy as np
import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from implementations.max_graph.gpu.graphs.choice_ops import embed_last_tokens
from implementations.max_graph.graphs.token_state import N_STATE_FIELDS, OFFSET, TOKEN
from tests.support.gpu_ops import (
    BF16,
    F16,
    F32,
    I32,
    GpuOps,
    OneOp,
    mutable,
    normal,
    rounded,
    tensor,
)
from tests.support.hardware import needs_max_gpu

pytestmark = [pytest.mark.gpu, needs_max_gpu]

DTYPES = {"float32": F32, "float16": F16, "bfloat16": BF16}
N_VOCAB, N_CTX = 1003, 70

OPS = GpuOps(
    **{
        name: OneOp(
            (
                mutable(I32, "n_rows", N_STATE_FIELDS),
                tensor(dtype, "n_vocab", "n_state"),
                tensor(F32, "n_ctx", "n_state"),
            ),
            embed_last_tokens,
        )
        for name, dtype in DTYPES.items()
    }
)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("n_state", [80, 384, 1280])
@pytest.mark.parametrize("n_rows", [1, 2, 3, 7, 9, 33])
def test_embed_last_tokens(name: str, n_rows: int, n_state: int) -> None:
    generator = np.random.default_rng(0)
    states = generator.integers(0, 9, (n_rows, N_STATE_FIELDS))
    states[:, TOKEN] = generator.integers(0, N_VOCAB, n_rows)
    states[:, OFFSET] = generator.integers(0, N_CTX, n_rows)
    states[-1, [TOKEN, OFFSET]] = N_VOCAB - 1, N_CTX  # rows that ended may be one beyond
    embedding, positional = normal(N_VOCAB, n_state), normal(N_CTX, n_state, seed=1)
    found, offsets, states_after = OPS.run(name, states, embedding, positional)
    np.testing.assert_array_equal(states_after, states)
    np.testing.assert_array_equal(offsets, np.minimum(states[:, OFFSET], N_CTX - 1))
    tokens = rounded(embedding, DTYPES[name])[states[:, TOKEN]]
    np.testing.assert_array_equal(found[:, 0], tokens + positional[offsets])
