"""Compile the graphs of a model; it knows no cache and no weights."""

from dataclasses import dataclass

from max.driver import CPU
from max.dtype import DType
from max.engine import InferenceSession
from max.engine.api import CompiledModel
from max.graph import Module

from implementations.max_graph.decoder import TextDecoder
from implementations.max_graph.encoder import AudioEncoder
from weights.dims import ModelDimensions


def build(dims: ModelDimensions, matrix_dtype: str, *, with_decoder: bool) -> Module:
    module = Module()
    dtype = DType[matrix_dtype]
    AudioEncoder(dims, dtype).add_graph(module)
    if with_decoder:
        TextDecoder(dims, dtype).add_graphs(module)
    return module
