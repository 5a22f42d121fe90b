"""Packing of a checkpoint's tensors into the names and shapes that the graphs declare.

Matrices become panels [n_panels, n_in, PANEL]. They stay in half precision where the checkpoint has
them so, since the kernels widen them exactly, or become integers with scales. All else is
float32. Done once per load, without MAX.
"""

import math
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from implementations.log_mel import hann_window
from implementations.max_graph.cpu.dtypes import is_matrix
from implementations.max_graph.cpu.graphs.layouts import (
    GROUP,
    N_WAVE_COLUMNS,
    PANEL,
    n_panels,
    scales_shape,
    weight_shape,
)
from implementations.max_graph.request import TWO_BYTES, MatrixTypes
from weights.checkpoint import Array, Checkpoint
from weights.dims import N_FFT, ModelDimensions
from weights.names import expected_shapes

_SELF_ATTENTION = (("qkv", ("query", "key", "value")), ("out", ("out",)))
_CROSS_ATTENTION = (
    ("query", ("query",)),
    ("kv", ("key", "value")),
    ("out", ("out",)),
)

_QUANTIZED_ROWS = 512
_BFLOAT16_ROWS = 128
"""Rows that are converted at a time, in one piece of memory that stays in the cache."""
_CACHE_LINE = 64
_N_PACKING = 2
"""Threads that pack weights: more would wait for memory, and hold more of it."""


def graph_constants(n_threads: int) -> dict[str, Array]:
    """Returns what the graphs read besides weights: the thread count, and tables of log-mel."""
    n = np.arange(N_FFT // 2 + 1)
    phases = 2 * np.pi / N_FFT * (np.outer(n, n) % N_FFT)
    padding = ((0, 0), (0, N_WAVE_COLUMNS - len(n)))
    return {
        "n_threads": np.array([n_threads], np.int32),
        "no_scales": np.ones(1, np.float32),
        "log_mel.window": hann_window(),
        "log_mel.cosines": np.pad(np.cos(phases), padding),
        "log_mel.sines": np.pad(np.sin(phases), padding),
    }


def graph_weights(
    checkpoint: Checkpoint,
    matrices: MatrixTypes,
    stacks: tuple[str, ...] = ("encoder", "decoder"),
) -> dict[str, Array]:
    """Returns the weights of the graphs of some stacks, by the names that the layers give."""
    tensors = {
        name: a for name, a in checkpoint.tensors.items() if name.partition(".")[0] in stacks
    }
    parts = dict(_fused_attention(tensors, checkpoint))
    parts |= {
        name: [array]
        for name, array in tensors.items()
        if ".attn." not in name and ".cross_attn." not in name
    }
    largest_first = sorted(parts.items(), key=lambda item: -sum(a.size for a in item[1]))
    with ThreadPoolExecutor(_N_PACKING) as pool:  # numpy computes outside Python's lock
        dtypes = (matrices.of(name) for name, _ in largest_first)
        packed = pool.map(_packed, *zip(*largest_first, strict=True), dtypes)
        return {name: array for each in packed for name, array in each.items()}


def _packed(name: str, parts: list[Array], dtype: str) -> dict[str, Array]:
    """Packs tensors, stacked into one, as the kernels read it; integers come with scales."""
    array = np.concatenate(parts) if len(parts) > 1 else parts[0]
    if not is_matrix(name, array):
        # Never the checkpoint's own: it would hold on to the whole file that is mapped.
        return {name: np.array(array, dtype=np.float32, order="C")}
    if dtype in {"int8", TWO_BYTES}:
        panels, scales = (_int8_panels if dtype == "int8" else _int16_panels)(array)
        return {name: panels, f"{name.removesuffix('weight')}scales": scales}
    if dtype == "bfloat16":
        return {name: _bfloat16_panels(_matrix(array))}
    return {name: _panels(_matrix(array), dtype)}


def _fused_attention(
    tensors: Mapping[str, Array], checkpoint: Checkpoint
) -> Iterator[tuple[str, list[Array]]]:
    """Yields the projections of every attention, those of one matmul side by side."""
    dims = checkpoint.dims
    stacks = (
        ("encoder", dims.n_audio_layer, (("attn", _SELF_ATTENTION),)),
        (
            "decoder",
            dims.n_text_layer,
            (("attn", _SELF_ATTENTION), ("cross_attn", _CROSS_ATTENTION)),
        ),
    )
    for stack, n_layer, attentions in stacks:
        for layer in range(n_layer if f"{stack}.blocks.0.attn.out.weight" in tensors else 0):
            for attention, fusions in attentions:
                prefix = f"{stack}.blocks.{layer}.{attention}"
                for fused, parts in fusions:
                    weights = [tensors[f"{prefix}.{part}.weight"] for part in parts]
                    biases = [_bias(tensors, f"{prefix}.{part}", len(weights[0])) for part in parts]
                    yield f"{prefix}.{fused}.weight", weights
                    yield f"{prefix}.{fused}.bias", biases


def _bias(tensors: Mapping[str, Array], name: str, n_out: int) -> Array:
    """Returns the bias of a projection; that of keys, which has none, is zero."""
    if name.endswith(".key"):
        return np.zeros(n_out, dtype=np.float32)
    return tensors[f"{name}.bias"].astype(np.float32)


def _matrix(array: Array) -> Array:
    """[n_out, n_in], or a convolution's [n_out, n_in, 3] -> [n_out, n_in (* 3)]."""
    if array.ndim == 3:
        array = array.transpose(0, 2, 1)  # a row of im2col: three frames in time order
    return array.reshape(len(array), -1)


def _panels(matrix: Array, dtype: npt.DTypeLike) -> Array:
    """[n_out, n_in] -> [n_panels, n_in, PANEL]."""
    n_out, n_in = matrix.shape
    n_full, n_left = divmod(n_out, PANEL)
    panels = np.zeros((n_full + (n_left > 0), n_in, PANEL), dtype)
    full = matrix[: n_full * PANEL].reshape(n_full, PANEL, n_in)
    panels[:n_full] = full.transpose(0, 2, 1)
    if n_left:
        panels[n_full, :, :n_left] = matrix[n_full * PANEL :].T
    return panels


def _bfloat16_panels(matrix: Array) -> Array:
    """[n_out, n_in] -> [n_panels, n_in padded, PANEL] as AMX takes it, in bfloat16.

    Two inputs' numbers lie side by side for each column. numpy has no bfloat16, so these are its
    16 bits: the upper half of a float32, rounded to the nearest, to even where between two.
    """
    n_out, n_in = matrix.shape
    shape = _, n_padded, _ = weight_shape(n_out, n_in, in_pairs=True)
    panels = _cache_aligned(shape, np.uint16)
    pairs = panels.view(np.uint32).reshape(-1, n_padded // 2, PANEL)
    workspace = np.zeros((_BFLOAT16_ROWS, n_padded), np.float32)
    for start in range(0, n_out, _BFLOAT16_ROWS):
        rows = matrix[start : start + _BFLOAT16_ROWS]
        block = workspace[: len(rows) + -len(rows) % PANEL]
        block[: len(rows), :n_in] = rows
        block[len(rows) :] = 0
        bits = block.view(np.uint32)
        halves = (bits + (0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
        of_rows = halves.view(np.uint32).reshape(-1, PANEL, n_padded // 2)
        pairs[start // PANEL :][: len(of_rows)] = of_rows.transpose(0, 2, 1)
    return panels


def _cache_aligned(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """Allocates an array that begins on a cache line: the rows of a tile are whole lines."""
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    workspace = np.empty(n_bytes + _CACHE_LINE, np.uint8)
    start = -workspace.ctypes.data % _CACHE_LINE
    array: Array = workspace[start : start + n_bytes].view(dtype).reshape(shape)
    return array


def _float32_of(halves: Array) -> Array:
    """Returns what `_bfloat16_panels` packed, as panels of float32."""
    pairs = halves.reshape(len(halves), -1, PANEL, 2).transpose(0, 1, 3, 2)
    return (pairs.astype(np.uint32) << 16).view(np.float32).reshape(halves.shape)


def _int8_panels(matrix: Array) -> tuple[Array, Array]:
    """[n_out, n_in] -> panels of integers from -127 to 127, and the scales of groups of inputs."""
    n_out, n_in = matrix.shape
    panels = np.empty((n_panels(n_out), n_in, PANEL), np.int8)
    scales = np.empty(scales_shape(n_out, n_in), np.float32)
    for group, first in enumerate(range(0, n_in, GROUP)):
        columns = slice(first, min(first + GROUP, n_in))
        for start, integers, scale in _quantized_rows(matrix[:, columns], 127):
            here = slice(start // PANEL, start // PANEL + len(integers))
            panels[here, columns] = integers.transpose(0, 2, 1)
            scales[here, group] = scale.reshape(-1, PANEL)
    return panels, scales.reshape(-1)


def _int16_panels(matrix: Array) -> tuple[Array, Array]:
    """[n_out, n_in] -> panels of high bytes, then of low ones, and the scales of both likewise."""
    n_out, n_in = matrix.shape
    panels = np.empty((2, n_panels(n_out), n_in, PANEL), np.int8)
    scales = np.zeros((2, n_panels(n_out) * PANEL), np.float32)
    for start, integers, scale in _quantized_rows(matrix, 127 * 256):
        both = integers.astype("<i2")
        here = slice(start // PANEL, start // PANEL + len(both))
        panels[1, here] = both.view(np.int8)[..., ::2].transpose(0, 2, 1)
        both += 128  # the low byte is signed: from half a step on, the high one is the next
        panels[0, here] = both.view(np.int8)[..., 1::2].transpose(0, 2, 1)
        scales[:, start : start + len(scale)] = scale * 256, scale
    return panels.reshape(-1, n_in, PANEL), scales.reshape(-1)


def _quantized_rows(matrix: Array, n_steps: int) -> Iterator[tuple[int, Array, Array]]:
    """Yields blocks of rows: first row, whole numbers up to n_steps [n, PANEL, n_in], scales.

    Every block is in the same piece of memory.
    """
    n_out, n_in = matrix.shape
    workspace = np.zeros((_QUANTIZED_ROWS, n_in), np.float32)
    for start in range(0, n_out, _QUANTIZED_ROWS):
        rows = matrix[start : start + _QUANTIZED_ROWS]
        block = workspace[: len(rows) + -len(rows) % PANEL]
        block[: len(rows)] = rows
        block[len(rows) :] = 0
        scale = np.maximum(block.max(1), -block.min(1)) / n_steps
        block *= np.divide(1, scale, where=scale > 0, out=np.zeros_like(scale))[:, None]
        yield start, np.rint(block, out=block).reshape(-1, PANEL, n_in), scale


def canonical_weights(
    packed: Mapping[str, Array], dims: ModelDimensions
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Yields the weights that graphs hold under OpenAI's names, in its shapes, as float32."""
    for name, shape in expected_shapes(dims).items():
        array_name, first = _packed_name(name, shape[0])
        if array_name not in packed:
            continue  # of a stack that was not loaded
        array = packed[array_name]
        scales = packed.get(f"{array_name.removesuffix('weight')}scales")
        if array.dtype == np.uint16:
            array = _float32_of(array)
        elif scales is not None:
            array = _dequantized(
                array, scales, is_two_bytes=name.endswith("token_embedding.weight")
            )
        if array.ndim == 3:
            array = array.transpose(0, 2, 1).reshape(-1, array.shape[1])
            array = array[:, : math.prod(shape[1:])]
        part = array[first : first + shape[0]].astype(np.float32)
        if len(shape) == 3:
            part = part.reshape(shape[0], shape[2], shape[1]).transpose(0, 2, 1)
        yield name, part.reshape(shape).copy()


def _dequantized(panels: Array, scales: Array, *, is_two_bytes: bool) -> Array:
    """Returns the numbers that panels of integers mean, as panels of float32."""
    if is_two_bytes:
        (high, low), (coarse, fine) = np.split(panels, 2), np.split(scales, 2)
        return high * coarse.reshape(-1, 1, PANEL) + low * fine.reshape(-1, 1, PANEL)
    by_group = scales.reshape(len(panels), -1, PANEL)
    return panels * by_group.repeat(GROUP, axis=1)[:, : panels.shape[1]]


def _packed_name(name: str, n_out: int) -> tuple[str, int]:
    """Returns the name of the packed array that holds a tensor, and its first row there."""
    prefix, _, part = name.removesuffix(".weight").removesuffix(".bias").rpartition(".")
    fusions = _CROSS_ATTENTION if prefix.endswith(".cross_attn") else _SELF_ATTENTION
    for fused, parts in fusions:
        if part in parts and prefix.endswith("attn"):
            return name.replace(f".{part}.", f".{fused}."), parts.index(part) * n_out
    return name, 0
