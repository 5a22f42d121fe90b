"""The dtypes of the CPU's graphs, and how each of them stores matrices; imports no MAX.

A dtype is what a user asks for and is shown. Types of matrices follow from it, from the checkpoint
and from their use.
"""

import numpy as np

from implementations.errors import ImplementationUnavailableError
from implementations.max_graph.cpu.graphs.layouts import AMX_STEP
from implementations.max_graph.request import TWO_BYTES, MatrixTypes
from implementations.options import AUTO, EXACT
from weights.checkpoint import Array, Checkpoint
from weights.dims import ModelDimensions

HALF = "bfloat16"
"""Matmuls of many rows in bfloat16 with sums in float32; few rows as in `EXACT`, but for logits.

Logits are computed from a `TWO_BYTES` embedding, as in int8.
"""
HALF_LEVELS = frozenset({"bf16", "amx"})
"""Levels whose processors multiply bfloat16: AMX, or AVX-512 with dot products of pairs."""
_HALF_NEEDS = "AMX or AVX-512 BF16 (Intel Xeon since 2023, AMD since 2022)"


def choose_dtype(
    requested: str | None, dims: ModelDimensions, level: str, *, has_decoder: bool
) -> str:
    """Returns the dtype to compute in: the one requested, the default, or the fastest for `auto`.

    `auto` takes the fastest whose word error rate is within 0.3 points of float32's; the measured
    rates stand in max_graph/README.md.

    Args:
        requested: A dtype, `auto`, or None for the default.
        dims: Sizes of the model.
        level: Instructions of the processor, as `cpu_level` names them.
        has_decoder: False where the encoder runs alone.

    Raises:
        ImplementationUnavailableError: the graphs do not compute in that dtype here.
    """
    available: tuple[str, ...] = (EXACT, HALF) if level in HALF_LEVELS else (EXACT,)
    if has_decoder:
        available = (*available, "int8")
    if requested is None:
        return EXACT
    if requested == AUTO:
        return HALF if HALF in available and _fills_tiles(dims) else EXACT
    if requested not in available:
        without = f" without {_HALF_NEEDS}" if requested == HALF else ""
        raise ImplementationUnavailableError(
            f"the MAX graphs do not compute in {requested} on the CPU{without}; "
            f"drop --dtype or use {' or '.join(available)}"
        )
    return requested


def matrix_types(checkpoint: Checkpoint, dtype: str, level: str) -> MatrixTypes:
    """Returns the types of matrices for a dtype that `choose_dtype` returned.

    Raises:
        ImplementationUnavailableError: the model's heads do not fill the steps of bfloat16.
    """
    exact = exact_type(checkpoint)
    if dtype == EXACT:
        return MatrixTypes(exact, exact, exact)
    tiles = level in HALF_LEVELS and _fills_tiles(checkpoint.dims)
    if dtype == HALF and not tiles:
        raise ImplementationUnavailableError(
            f"{HALF} needs attention heads of whole multiples of {AMX_STEP} channels; "
            f"use --dtype {EXACT} for this model"
        )
    layers = "int8" if dtype == "int8" else exact
    return MatrixTypes(HALF if tiles else exact, layers, TWO_BYTES)


def exact_type(checkpoint: Checkpoint) -> str:
    """Returns `float16` where every matrix is so in the checkpoint, otherwise `float32`."""
    half = all(
        array.dtype == np.float16
        for name, array in checkpoint.tensors.items()
        if is_matrix(name, array)
    )
    return "float16" if half else "float32"


def is_matrix(name: str, array: Array) -> bool:
    """Tells a factor of matmuls by its name in the checkpoint or in the graphs."""
    return array.ndim >= 2 and not name.endswith("positional_embedding")


def _fills_tiles(dims: ModelDimensions) -> bool:
    head_dims = (dims.n_audio_state // dims.n_audio_head, dims.n_text_state // dims.n_text_head)
    return all(head_dim % AMX_STEP == 0 for head_dim in head_dims)
