"""All graphs of a GPU, added to one module."""

from max.dtype import DType
from max.graph import DeviceRef, KernelLibrary, Module

from implementations.max_graph.gpu.graphs.alignment import AlignmentGraphs
from implementations.max_graph.gpu.graphs.beams import BeamGraphs
from implementations.max_graph.gpu.graphs.decoder import TextDecoder
from implementations.max_graph.gpu.graphs.encoder import AudioEncoder
from implementations.max_graph.gpu.graphs.encoder_ops import COLUMNS
from implementations.max_graph.gpu.graphs.half_encoder import HalfEncoder
from implementations.max_graph.gpu.graphs.mel import MelGraphs
from implementations.max_graph.gpu.graphs.ops import KERNELS, kernels_for
from implementations.max_graph.gpu.graphs.sampling import SamplingGraphs
from implementations.max_graph.request import CompileRequest


def add_graphs(request: CompileRequest, module: Module, kernels: KernelLibrary) -> None:
    """Adds the graphs that a request names, and the kernels that they call."""
    kernels.load_paths([KERNELS])
    device = DeviceRef.GPU(request.gpu)
    dtype = DType[request.matrices.encoder]
    is_half = dtype != DType.float32 and request.dims.n_audio_state % COLUMNS == 0
    encoder = HalfEncoder if is_half else AudioEncoder
    with kernels_for(is_portable=request.is_portable):
        encoder(request.dims, dtype, device).add_graphs(module, kernels)
        if request.has_decoder:
            _add_decoder(request, module, kernels)


def _add_decoder(request: CompileRequest, module: Module, kernels: KernelLibrary) -> None:
    device, dtype = DeviceRef.GPU(request.gpu), DType[request.matrices.encoder]
    n_frames = 2 * request.dims.n_audio_ctx
    MelGraphs(request.dims.n_mels, n_frames, device).add_graphs(module, kernels)
    decoder = TextDecoder(request.dims, dtype, device)
    decoder.add_graphs(module, kernels)
    AlignmentGraphs(decoder).add_graphs(module, kernels)
    SamplingGraphs(decoder).add_graphs(module, kernels)
    BeamGraphs(decoder).add_graphs(module, kernels)
