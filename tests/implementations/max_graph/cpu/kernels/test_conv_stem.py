"""The encoder's two convolutions, one operation, against numpy."""

import numpy as np
import pytest

from tests.support import cpu_kernels
from tests.support.kernel_reference import TOLERANCE, assert_near, packed, random
from tests.support.layers import gelu

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")
pytestmark = pytest.mark.max


def convolve(x: np.ndarray, matrix: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    """[n_batch, n_in, n_frames] and a matrix [n_out, 3 * n_in] -> GELU, [n_batch, n_out, ...]."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1)))
    n_frames = x.shape[2]
    columns = np.concatenate([padded[:, :, i : i + n_frames : stride] for i in range(3)], axis=1)
    return gelu(matrix @ columns + bias[:, None])


@pytest.mark.parametrize("dtype", cpu_kernels.DTYPES)
@pytest.mark.parametrize(
    ("n_mels", "n_state", "n_batch", "n_ctx"),
    [
        (80, 384, 1, 1),
        (80, 80, 3, 3),
        (128, 512, 2, 7),
        (80, 768, 1, 33),
        (80, 384, 2, 97),
        (128, 1024, 1, 13),
        (128, 1280, 1, 47),
        (80, 384, 1, 193),
    ],
)
def test_windows_of_every_length(
    dtype: str, n_mels: int, n_state: int, n_batch: int, n_ctx: int
) -> None:
    mel = random(1, n_batch, n_mels, 2 * n_ctx)
    conv1 = packed(random(2, n_state, n_mels, 3, scale=0.1), dtype)
    conv2 = packed(random(3, n_state, n_state, 3, scale=0.05), dtype)
    bias1, bias2 = random(4, n_state), random(5, n_state)
    positional = random(6, n_ctx, n_state)
    hidden = convolve(mel.astype(np.float64), conv1.matrix, bias1, 1)
    expected = convolve(hidden, conv2.matrix, bias2, 2).swapaxes(1, 2) + positional
    operands = [*conv1.operands, bias1, *conv2.operands, bias2, positional]
    (found,) = cpu_kernels.run(f"conv_stem_{dtype}", mel, *operands)
    assert_near(found, expected, TOLERANCE[dtype])
