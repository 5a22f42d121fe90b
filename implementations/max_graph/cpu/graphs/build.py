"""All graphs of the CPU, added to one module."""

from max.dtype import DType
from max.graph import KernelLibrary, Module

from implementations.max_graph.cpu.graphs.decoder import TextDecoder
from implementations.max_graph.cpu.graphs.encoder import AudioEncoder
from implementations.max_graph.cpu.graphs.mel import LogMel
from implementations.max_graph.cpu.graphs.ops import KERNELS
from implementations.max_graph.cpu.graphs.steps import DecoderSteps
from implementations.max_graph.request import CompileRequest


def add_graphs(request: CompileRequest, module: Module, kernels: KernelLibrary) -> None:
    """Adds the graphs that a request names, and the kernels that they call."""
    kernels.load_paths([KERNELS])
    matrices = request.matrices
    encoder_dtype = DType[matrices.encoder]
    if request.has_encoder:
        AudioEncoder(request.dims, encoder_dtype).add_graphs(module, kernels)
    if request.has_decoder:
        LogMel(request.dims.n_mels).add_graph(module, kernels)
        decoder = TextDecoder(request.dims, matrices)
        decoder.add_graphs(module, kernels)
        DecoderSteps(decoder).add_graphs(module, kernels)
