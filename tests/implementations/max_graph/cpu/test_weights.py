"""Packing of a checkpoint's tensors for the graphs; numpy alone."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from implementations.max_graph.cpu.dtypes import exact_type
from implementations.max_graph.cpu.graphs.layouts import PANEL
from implementations.max_graph.cpu.weights import graph_weights
from implementations.max_graph.request import MatrixTypes
from tests.support.checkpoints import SMALL_DIMS, random_tensors
from weights.checkpoint import Checkpoint

HALF, FULL = MatrixTypes(*3 * ["float16"]), MatrixTypes(*3 * ["float32"])


@pytest.fixture
def checkpoint() -> Checkpoint:
    return Checkpoint(SMALL_DIMS, random_tensors(), ((0, 0),), Path("made-up"))


def matrix_of(panels: np.ndarray, n_out: int) -> np.ndarray:
    """[n_panels, n_in, PANEL] -> [n_out, n_in], the long way round."""
    columns = [panels[j // PANEL, :, j % PANEL] for j in range(n_out)]
    return np.stack(columns)


def test_matrices_become_panels_and_stay_in_half_precision(checkpoint: Checkpoint) -> None:
    name = "decoder.token_embedding.weight"
    panels = graph_weights(checkpoint, HALF)[name]
    assert (panels.shape, panels.dtype.name) == ((1621, 16, PANEL), "float16")
    np.testing.assert_array_equal(matrix_of(panels, 51864), checkpoint.tensors[name])
    assert not panels[-1, :, 51864 % PANEL :].any()


def test_matrices_of_bfloat16_have_two_inputs_side_by_side(
    checkpoint: Checkpoint,
) -> None:
    name = "encoder.conv1.weight"  # 16 rows of 3 * 80 numbers: both are filled up
    pairs = graph_weights(checkpoint, MatrixTypes("bfloat16", "float16", "float16"))[name]
    assert (pairs.shape, pairs.dtype.name) == ((1, 256, PANEL), "uint16")
    assert pairs.ctypes.data % 64 == 0
    kernel = checkpoint.tensors[name].transpose(0, 2, 1).reshape(16, 240).astype(np.float32)
    of_column = pairs.reshape(128, PANEL, 2).transpose(1, 0, 2).reshape(PANEL, 256)
    kept = (of_column.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(kept[:16, :240], np.vectorize(nearest_bfloat16)(kernel))
    assert not kept[16:].any()
    assert not kept[:, 240:].any()


def nearest_bfloat16(number: float) -> float:
    """The nearest number of 8 significant bits; of two as near, the even one."""
    mantissa, exponent = math.frexp(number)
    return math.ldexp(round(mantissa * 2**8), exponent - 8)


def test_more_rows_than_are_rounded_at_once(checkpoint: Checkpoint) -> None:
    name = "decoder.token_embedding.weight"
    tensor = np.random.default_rng(0).normal(size=(301, 16)).astype(np.float16)
    checkpoint = replace(checkpoint, tensors={name: tensor})
    pairs = graph_weights(checkpoint, MatrixTypes(*3 * ["bfloat16"]))[name]
    of_column = pairs.reshape(10, 16, PANEL, 2).transpose(0, 2, 1, 3).reshape(320, 32)
    kept = (of_column.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(kept[:301, :16], np.vectorize(nearest_bfloat16)(tensor))
    assert not kept[301:].any()


def test_an_embedding_in_two_bytes_is_a_coarse_one_and_what_it_lacks(
    checkpoint: Checkpoint,
) -> None:
    name = "decoder.token_embedding.weight"
    checkpoint.tensors[name][7] = 0
    weights = graph_weights(checkpoint, MatrixTypes("float16", "float16", "int16"))
    high, low = np.split(weights[name].astype(np.float64), 2)
    scales, fine = np.split(weights["decoder.token_embedding.scales"], 2)
    exact = checkpoint.tensors[name].astype(np.float32)
    largest = np.abs(exact).max(axis=1, keepdims=True)
    coarse = matrix_of(high, 51864) * scales[:51864, None]
    assert (np.abs(coarse - exact) <= largest / 252).all()
    whole = coarse + matrix_of(low, 51864) * fine[:51864, None]
    assert (np.abs(whole - exact) <= largest / 64000).all()


def test_integers_have_a_scale_for_each_group_of_inputs() -> None:
    name = "decoder.blocks.0.mlp.0.weight"
    tensor = np.random.default_rng(0).normal(size=(40, 80)).astype(np.float16)
    tensor[3, 32:64] = 0
    tensor[:, 70] *= 100  # what a row's only scale would drown the others in
    checkpoint = Checkpoint(SMALL_DIMS, {name: tensor}, (), Path("made-up"))
    weights = graph_weights(checkpoint, MatrixTypes("float16", "int8", "float16"))
    integers = matrix_of(weights[name], 40)
    scales = matrix_of(weights["decoder.blocks.0.mlp.0.scales"].reshape(2, 3, PANEL), 40)
    assert integers.dtype == np.int8
    for group, columns in enumerate((slice(0, 32), slice(32, 64), slice(64, 80))):
        exact = tensor[:, columns].astype(np.float64)
        found = integers[:, columns] * scales[:, group, None].astype(np.float64)
        largest = np.abs(exact).max(axis=1, keepdims=True)
        assert (np.abs(found - exact) <= largest / 253).all()
        assert (
            np.abs(integers[:, columns]).max(axis=1) == np.where(largest[:, 0] > 0, 127, 0)
        ).all()


def test_a_convolution_reads_its_three_frames_in_time_order(checkpoint: Checkpoint) -> None:
    panels = graph_weights(checkpoint, HALF)["encoder.conv1.weight"]
    kernel = checkpoint.tensors["encoder.conv1.weight"]
    expected = np.concatenate([kernel[:, :, t] for t in range(3)], axis=1)
    np.testing.assert_array_equal(matrix_of(panels, 16), expected)


def test_projections_computed_together_lie_together(checkpoint: Checkpoint) -> None:
    tensors, prefix = checkpoint.tensors, "decoder.blocks.0.cross_attn"
    weights = graph_weights(checkpoint, HALF)
    expected = [tensors[f"{prefix}.{part}.weight"] for part in ("key", "value")]
    kv = matrix_of(weights[f"{prefix}.kv.weight"], 32)
    np.testing.assert_array_equal(kv, np.concatenate(expected))
    bias = weights[f"{prefix}.kv.bias"]
    np.testing.assert_array_equal(bias[16:], tensors[f"{prefix}.value.bias"].astype(np.float32))
    assert not bias[:16].any(), "the key projection has no bias"


def test_the_rest_is_float32(checkpoint: Checkpoint) -> None:
    weights = graph_weights(checkpoint, HALF)
    others = {name: a.dtype for name, a in weights.items() if a.ndim < 3}
    assert "encoder.positional_embedding" in others
    assert set(others.values()) == {np.dtype(np.float32)}


def test_none_of_the_checkpoints_arrays_is_held(checkpoint: Checkpoint) -> None:
    """Since one of them would keep the file that they are mapped from in memory."""
    tensors = {name: array.astype(np.float32) for name, array in checkpoint.tensors.items()}
    weights = graph_weights(replace(checkpoint, tensors=tensors), FULL)
    assert not any(np.shares_memory(a, b) for a in weights.values() for b in tensors.values())


def test_one_full_precision_matrix_makes_all_so(checkpoint: Checkpoint) -> None:
    assert exact_type(checkpoint) == "float16"
    name = "encoder.blocks.1.mlp.0.weight"
    tensors = {**checkpoint.tensors, name: checkpoint.tensors[name].astype(np.float32)}
    mixed = replace(checkpoint, tensors=tensors)
    assert exact_type(mixed) == "float32"
    assert {a.dtype for a in graph_weights(mixed, FULL).values()} == {np.dtype(np.float32)}
