"""The CPU's operations one by one: a graph of its own for each, with weights and sizes as inputs.

What is compiled knows no sizes but those of cpu_kernels.py: one graph serves every width and number
of rows. Run as a program, so that compiling has its own process:

    python -m tests.support.cpu_kernel_graphs MEF_PATH
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from max import driver
from max.dtype import DType
from max.engine import InferenceSession
from max.graph import (
    BufferType,
    BufferValue,
    Graph,
    KernelLibrary,
    Module,
    TensorType,
    TensorValue,
)

from implementations.max_graph.cpu.cpu_level import compiler_target, cpu_level
from implementations.max_graph.cpu.graphs import alignment_ops, ops
from implementations.max_graph.cpu.graphs.layouts import PANEL
from implementations.max_graph.cpu.graphs.ops import CPU, KERNELS, Matrix
from implementations.max_graph.graphs.aligned_text import N_TEXT_FIELDS
from implementations.max_graph.graphs.token_state import N_RULES, N_STATE_FIELDS
from tests.support.cpu_kernels import (
    N_AUDIO_CTX,
    N_HEAD,
    N_LAYER,
    N_TOKENS,
    N_VOCAB,
    SAMPLE_VOCABULARIES,
    has_bfloat16,
)

DTYPES = ("float32", "float16", "bfloat16")
"""Types of matrices of operations over many rows; the last where the processor has it."""
DECODERS = {
    "float32": (DType.float32, DType.float32, DType.float32),
    "float16": (DType.float16, DType.float32, DType.float16),
    "int8": (DType.int8, DType.float32, DType.int8),
    "bfloat16": (DType.float16, DType.bfloat16, DType.int8),
}
"""The dtypes of a decoder's layers, its keys and values of the audio, and its embedding."""
N_WEIGHTS = 24
"""Tensors of a block, in the order of `whisper_cpu_bind_block`."""
PANELS_AT = (2, 5, 10, 13, 18, 21)
"""Indices of the panels among them."""


def floats(*shape: str | int) -> TensorType:
    return TensorType(DType.float32, shape, CPU)


def integers(*shape: str | int) -> TensorType:
    return TensorType(DType.int32, shape, CPU)


def norm(name: str) -> list[TensorType]:
    return [floats("n_state"), floats("n_state")]


def dense(name: str, dtype: DType) -> list[TensorType]:
    """Panels, scales and bias, of sizes of their own."""
    panels = TensorType(dtype, [f"{name}_panels", f"{name}_in", PANEL], CPU)
    return [panels, floats(f"{name}_scales"), floats(f"{name}_out")]


class Builder:
    """Puts graphs into one module."""

    def __init__(self) -> None:
        self.module, self.kernels = Module(), KernelLibrary()
        self.kernels.load_paths([KERNELS])

    def add(self, name: str, types: Sequence[TensorType | BufferType], build: Any) -> None:
        """A graph whose results are what `build` makes of its inputs."""
        with Graph(
            name, input_types=types, module=self.module, kernel_library=self.kernels
        ) as graph:
            values = [
                i.buffer if isinstance(i.type, BufferType) else i.tensor for i in graph.inputs
            ]
            results = build(*values)
            graph.output(*(results if isinstance(results, tuple | list) else [results]))

    def add_rows(self, dtype_name: str) -> None:
        """The encoder's operations, with matrices in a dtype."""
        dtype = DType[dtype_name]
        kv_dtype = ops.kv_dtype(dtype)
        x = floats("n_batch", "n_ctx", "n_state")
        self.add(
            f"conv_stem_{dtype_name}",
            [
                floats("n_batch", "n_mels", "n_frames"),
                *dense("conv1", dtype),
                *dense("conv2", dtype),
                floats("n_ctx", "n_state"),
            ],
            lambda mel, *w: ops.conv_stem(mel, [*w[:3]], [*w[3:6]], w[6]),
        )
        self.add(
            f"qkv_projection_{dtype_name}",
            [x, *norm("norm"), *dense("qkv", dtype), integers("n_head")],
            lambda x, *w: ops.qkv_projection(x, [*w[:2]], [*w[2:5]], w[5].shape[0]),
        )
        self.add(
            f"kv_projection_{dtype_name}",
            [x, *dense("kv", dtype), integers("n_head")],
            lambda x, *w: ops.kv_projection(x, [*w[:3]], w[3].shape[0]),
        )
        kv = [
            TensorType(kv_dtype, ["n_batch", "n_head", "n_panels", "head_dim", PANEL], CPU),
            TensorType(kv_dtype, ["n_batch", "n_head", "n_values", "n_columns"], CPU),
        ]
        self.add(
            f"attention_{dtype_name}",
            [x, *kv, x, *dense("out", dtype)],
            lambda q, k, v, x, *w: ops.attention((q, k, v), x, [*w]),
        )
        self.add(
            f"mlp_{dtype_name}",
            [x, *norm("norm"), *dense("fc1", dtype), *dense("fc2", dtype)],
            lambda x, *w: ops.mlp(x, [*w[:2]], [*w[2:5]], [*w[5:]]),
        )

    def add_others(self) -> None:
        x = floats("n_batch", "n_ctx", "n_state")
        self.add("layer_norm", [x, *norm("norm")], ops.layer_norm)
        waves = TensorType(DType.float64, [201, "n_columns"], CPU)
        self.add(
            "log_mel",
            [floats("n_samples"), floats("n_mels", 201), floats(400), waves, waves],
            ops.log_mel,
        )

        text = integers(N_TEXT_FIELDS)
        self.add(
            "alignment_matrix",
            [
                BufferType(DType.float32, ["n_scores", "n_new", "n_audio_ctx"], CPU),
                *(text, integers("n_text")),
            ],
            alignment_ops.alignment_matrix,
        )
        self.add("dtw", [floats("n_lines", "n_audio_ctx"), text], alignment_ops.dtw)
        for n_vocab in SAMPLE_VOCABULARIES:
            self.add(
                f"sample_{n_vocab}",
                [
                    floats("n_group", n_vocab),
                    integers("n_group", N_STATE_FIELDS),
                    *(integers(N_RULES), TensorType(DType.uint8, [n_vocab], CPU)),
                    *(TensorType(DType.float64, ["n_group"], CPU), floats(1)),
                ],
                lambda logits, state, *v: ops.sample(logits, state, v[:2], *v[2:]),
            )

        def bind_block(table: BufferValue, *values: Any) -> list[Any]:
            ops.bind_block(table, 1, values[:2], values[2:])
            return []

        table, *own = decoder_types("float32")
        block, caches, cross_kv = (
            own[:N_WEIGHTS],
            own[2 * N_WEIGHTS :][:2],
            own[2 * N_WEIGHTS + 4 :][:2],
        )
        self.add("bind_block", [table, *caches, *block, *cross_kv], bind_block)

    def add_steps(self, name: str) -> None:
        """A decoder's operations: weights of all blocks, then caches and audio, are inputs."""
        slots = integers("n_group", "n_text_panels")
        group = integers("n_group")
        rules = [integers(N_RULES), TensorType(DType.uint8, [N_VOCAB], CPU)]
        state = BufferType(DType.int32, [N_STATE_FIELDS], CPU)
        own = decoder_types(name)

        def add(graph: str, types: list[Any], build: Any) -> None:
            def inner(*values: Any) -> TensorValue:
                return build(step_inputs(name, values[len(types) :]), *values[: len(types)])

            self.add(f"{graph}_{name}", [*types, *own], inner)

        add(
            "prefill",
            [
                BufferType(DType.float32, ["n_scores", "n_new", N_AUDIO_CTX], CPU),
                *(integers("n_new"), integers("n_rows"), integers("n_scores", 2)),
            ],
            lambda inputs, scores, *requested: ops.prefill(inputs, scores, requested),
        )
        add(
            "prefill_probs",
            [
                BufferType(DType.float32, ["n_scores", "n_new", N_AUDIO_CTX], CPU),
                *(integers("n_new"), integers("n_text"), integers("n_scores", 2)),
                integers(N_TEXT_FIELDS),
            ],
            lambda inputs, scores, *v: alignment_ops.prefill_probs(inputs, scores, v),
        )
        add(
            "decode_step",
            [group, integers(1), slots, group],
            lambda inputs, tokens, offset, *slots: ops.decode_step(inputs, tokens, offset, slots),
        )
        add(
            "top_k",
            [integers("n_group", N_STATE_FIELDS), *rules, slots, group],
            lambda inputs, state, *v: ops.top_k(inputs, state, v[:2], v[2:]),
        )
        add(
            "greedy",
            [state, BufferType(DType.float32, [1], CPU), *rules],
            lambda inputs, state, total, *rules: ops.greedy(inputs, state, total, rules, N_TOKENS),
        )


def decoder_types(name: str) -> list[TensorType | BufferType]:
    """Returns the types of what `step_inputs` takes."""
    layer, kv, embedding = DECODERS[name]
    blocks: list[TensorType | BufferType] = [
        TensorType(layer, [f"panels_{b}_{i}", f"in_{b}_{i}", PANEL], CPU)
        if i in PANELS_AT
        else floats(f"size_{b}_{i}")
        for b in range(N_LAYER)
        for i in range(N_WEIGHTS)
    ]
    caches: list[TensorType | BufferType] = [
        BufferType(DType.float32, ["n_slots", N_HEAD, *rest], CPU)
        for _ in range(N_LAYER)
        for rest in (["n_text_panels", "head_dim", PANEL], ["n_text_ctx", "n_columns"])
    ]
    cross_kv: list[TensorType | BufferType] = [
        TensorType(kv, [1, N_HEAD, *rest], CPU)
        for _ in range(N_LAYER)
        for rest in (["n_audio_panels", "head_dim", PANEL], ["n_values", "n_columns"])
    ]
    last = [
        *(TensorType(embedding, ["e_panels", "n_state", PANEL], CPU), floats("e_scales")),
        *(floats("n_text_ctx", "n_state"), floats("n_state"), floats("n_state")),
    ]
    return [ops.table_type(N_LAYER), *blocks, *caches, *cross_kv, *last]


def step_inputs(name: str, values: Sequence[Any]) -> ops.StepInputs:
    """A decoder of the values whose types `decoder_types` gives; bound to its table."""
    table, rest = values[0], list(values[1:])
    blocks, rest = rest[: N_LAYER * N_WEIGHTS], rest[N_LAYER * N_WEIGHTS :]
    caches, cross_kv = rest[: 2 * N_LAYER], rest[2 * N_LAYER : 4 * N_LAYER]
    for i in range(N_LAYER):
        pair = slice(2 * i, 2 * i + 2)
        block = blocks[i * N_WEIGHTS : (i + 1) * N_WEIGHTS]
        ops.bind_block(table, i, caches[pair], [*block, *cross_kv[pair]])
    layer, kv, _ = DECODERS[name]
    panels, scales, positional, *ln = rest[4 * N_LAYER :]
    return ops.StepInputs(
        table=table,
        embedding=Matrix(panels, scales),
        positional=positional,
        ln=ln,
        n_head=N_HEAD,
        n_audio_ctx=N_AUDIO_CTX,
        n_vocab=N_VOCAB,
        cross_kv_dtype=kv,
        layer_dtype=layer,
    )


def build() -> Builder:
    builder = Builder()
    builder.add_others()
    for dtype in DTYPES[: 2 + has_bfloat16()]:
        builder.add_rows(dtype)
    for name in list(DECODERS)[: 3 + has_bfloat16()]:
        builder.add_steps(name)
    return builder


def compile_to(path: Path) -> None:
    """Compile all graphs for the level of this processor, or the one that is forced."""
    driver.set_virtual_cpu_target(compiler_target(cpu_level()))
    builder = build()
    session = InferenceSession(devices=[driver.CPU()])
    compiled = session.compile(builder.module, custom_extensions=builder.kernels.library_paths())
    compiled.export_mef(path)


if __name__ == "__main__":
    compile_to(Path(sys.argv[1]))
    os._exit(0)  # taking MAX's worker threads down in order has been seen to abort
