"""Which dtypes the MAX graphs compute in, and how each of them keeps matrices; imports no MAX.

A dtype is what a user asks for and is shown. How matrices are kept follows from it, from the
checkpoint, and from what they are for.
"""

from dataclasses import dataclass

import numpy as np

from implementations.base import AUTO, EXACT, HOST, LoadOptions
from implementations.errors import ImplementationUnavailableError
from implementations.max_graph.cpu.cpu_level import cpu_level
from implementations.max_graph.cpu.graphs.layouts import AMX_STEP
from weights.checkpoint import Array, Checkpoint
from weights.dims import ModelDimensions

HALF = "bfloat16"
"""Products of many rows in bfloat16 with sums in float32; few rows as in `EXACT`, but for logits.

Those are of a `TWO_BYTES` embedding, as in int8.
"""
TWO_BYTES = "int16"
"""Integers of 16 bits with a scale for each row, high and low bytes apart.

A step reads the high ones of all tokens, half of what float16 takes, and the low ones of those that
may be the likeliest after that: the choice is by 16 bits, the sum for the log-probability by 8.
"""
GPU_DTYPES = ("float16", "float32", "bfloat16")
"""What matrices and caches may be kept in on a GPU, the default first; sums are in float32."""


@dataclass(frozen=True, slots=True)
class MatrixTypes:
    """The types in which matrices are kept; sums are in float32 whatever they are."""

    encoder: str
    """Also of what the decoder computes once per window, `cross_attn.key_value`."""
    decoder: str
    embedding: str
    """Of the token embedding, whose product are the logits."""

    def of(self, name: str) -> str:
        """How a matrix is kept, by its name in the graphs."""
        if name == "decoder.token_embedding.weight":
            return self.embedding
        many_rows = name.startswith("encoder.") or ".cross_attn.key_value." in name
        return self.encoder if many_rows else self.decoder


def choose_dtype(options: LoadOptions, dims: ModelDimensions, *, has_decoder: bool) -> str:
    """The dtype to compute in: the one asked for, or the default, or what is best by `auto`.

    That is the fastest whose word error rate is within 0.3 points of float32's. Over 24 minutes of
    English tiny.en has 5.21 % in float32, 5.18 % in bfloat16 and 8.17 % in int8 (greedy, with the
    usual second tries at higher temperatures; what int8 loses is nearly all in one recording). On a
    GPU it has 5.21 % in float32 and float16 and 4.90 % in bfloat16; without second tries, where a
    text that repeats itself stays, 5.06 %, 5.06 % and 12.10 %.

    Raises:
        ImplementationUnavailableError: the graphs do not compute in it there.
    """
    if options.target != HOST:
        allowed: tuple[str, ...] = GPU_DTYPES
        best = default = GPU_DTYPES[0]
    else:
        allowed = _cpu_dtypes(has_decoder=has_decoder)
        default = EXACT
        best = HALF if HALF in allowed and _fills_tiles(dims) else EXACT
    if options.dtype is None:
        return default
    if options.dtype == AUTO:
        return best
    if options.dtype not in allowed:
        where = "on the CPU" if options.target == HOST else "on a GPU"
        if options.dtype == HALF and options.target == HOST:
            where += " without AMX (Intel Xeon, 2023 or later)"
        elsewhere = "" if options.target == HOST else ", or the CPU"
        raise ImplementationUnavailableError(
            f"the MAX graphs do not compute in {options.dtype} {where}; "
            f"drop --dtype or use {' or '.join(allowed)}{elsewhere}"
        )
    return options.dtype


def _cpu_dtypes(*, has_decoder: bool) -> tuple[str, ...]:
    """What is to be had on a CPU, for the encoder alone or with the decoder."""
    dtypes = (EXACT, HALF) if cpu_level() == "amx" else (EXACT,)
    return (*dtypes, "int8") if has_decoder else dtypes


def matrix_types(checkpoint: Checkpoint, dtype: str, target: str) -> MatrixTypes:
    """How matrices are kept for a dtype that `choose_dtype` gave."""
    if target != HOST:
        return MatrixTypes(dtype, dtype, dtype)
    exact = exact_type(checkpoint)
    if dtype == EXACT:
        return MatrixTypes(exact, exact, exact)
    tiles = cpu_level() == "amx" and _fills_tiles(checkpoint.dims)
    if dtype == HALF and not tiles:
        raise ImplementationUnavailableError(
            f"{HALF} wants attention heads of whole multiples of {AMX_STEP} channels; "
            f"use --dtype {EXACT} for this model"
        )
    layers = "int8" if dtype == "int8" else exact
    return MatrixTypes(HALF if tiles else exact, layers, TWO_BYTES)


def _fills_tiles(dims: ModelDimensions) -> bool:
    heads = (dims.n_audio_state // dims.n_audio_head, dims.n_text_state // dims.n_text_head)
    return all(n_channels % AMX_STEP == 0 for n_channels in heads)


def exact_type(checkpoint: Checkpoint) -> str:
    """`float16` where every matrix is so in the checkpoint, otherwise `float32`."""
    half = all(
        array.dtype == np.float16
        for name, array in checkpoint.tensors.items()
        if is_matrix(name, array)
    )
    return "float16" if half else "float32"


def is_matrix(name: str, array: Array) -> bool:
    """Whether a tensor is a factor of products, by its name in the checkpoint or in the graphs."""
    return array.ndim >= 2 and not name.endswith("positional_embedding")
