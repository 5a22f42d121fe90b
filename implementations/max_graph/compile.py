"""Compile the graphs of a model into one file; run as a program, so that it has its own process.

A process of its own keeps the compiler's memory, signals and crashes out of the caller's. It knows
no cache and no weights:

    python -m implementations.max_graph.compile REQUEST_JSON MEF_PATH
"""

import dataclasses
import json
import os
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from implementations.base import HOST, LoadOptions
from implementations.max_graph.cpu.cpu_level import NATIVE, compile_target, cpu_level
from implementations.max_graph.dtypes import MatrixTypes, choose_dtype, matrix_types
from implementations.nvidia import gpu_index
from weights.checkpoint import Checkpoint
from weights.dims import ModelDimensions

if TYPE_CHECKING:
    from max.driver import Device
    from max.graph import KernelLibrary, Module

ENCODER_GRAPHS = ("encoder", "encoder_states")
ALL_GRAPHS = (
    "log_mel",
    *ENCODER_GRAPHS,
    "audio_keys_values",
    "decoder",
    "step",
    "likeliest",
    "greedy",
)
GPU_GRAPHS = (
    "log_mel",
    *ENCODER_GRAPHS,
    "audio_keys_values",
    "decoder",
    "alignment",
    "loop_first",
    "loop_step",
    "beam_first",
    "beam_step",
)


@dataclass(frozen=True, slots=True)
class CompileRequest:
    """What to compile: all that decides a compiled file, but for code and machine."""

    graphs: tuple[str, ...]
    """`ENCODER_GRAPHS`, or `ALL_GRAPHS` for the host, or `GPU_GRAPHS`."""
    dims: ModelDimensions
    matrices: MatrixTypes
    """How matrices are kept, on a GPU also keys and values."""
    target: str = HOST
    """`host`, this machine's CPU, or a GPU by its architecture: `cuda:sm_90a`."""
    cpu_level: str = NATIVE
    """Which instructions the host's code may use, as cpu_level.py names them."""
    gpu: int = 0
    """Which of a machine's GPUs: what MAX compiles names one."""

    def to_json(self) -> str:
        """The request in words that `from_json` and a cache key understand."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The request that `to_json` wrote."""
        fields = json.loads(text)
        graphs, dims = tuple(fields.pop("graphs")), ModelDimensions(**fields.pop("dims"))
        return cls(graphs, dims, MatrixTypes(**fields.pop("matrices")), **fields)


def compile_request(
    checkpoint: Checkpoint, graphs: tuple[str, ...], options: LoadOptions
) -> CompileRequest:
    """What a checkpoint needs compiled under these options.

    Raises:
        ImplementationUnavailableError: the graphs do not compute in that dtype there.
    """
    dtype = choose_dtype(options, checkpoint.dims, has_decoder="decoder" in graphs)
    matrices = matrix_types(checkpoint, dtype, options.target)
    level = cpu_level() if options.target == HOST else NATIVE
    gpu = gpu_index(options.device or "cuda") or 0
    return CompileRequest(graphs, checkpoint.dims, matrices, options.target, level, gpu)


def compile_to(request: CompileRequest, path: Path) -> None:
    """Build the graphs as one module, compile it, and write the compiled file."""
    device = _device(request)  # first of all, since it decides what MAX finds
    from max.engine import InferenceSession
    from max.graph import KernelLibrary, Module

    module, kernels = Module(), KernelLibrary()
    build = _build_for_host if request.target == HOST else _build_for_gpu
    build(request, module, kernels)
    session = InferenceSession(devices=[device])
    session.compile(module, custom_extensions=kernels.library_paths()).export_mef(path)


def _device(request: CompileRequest) -> "Device":
    """What to compile for; a GPU need not be in this machine."""
    from max import driver

    if request.target == HOST:
        if request.cpu_level != NATIVE:
            driver.set_virtual_cpu_target(compile_target(request.cpu_level))
        return driver.CPU()
    api, _, architecture = request.target.partition(":")
    driver.set_virtual_device_api(api)
    driver.set_virtual_device_target_arch(architecture)
    driver.set_virtual_device_count(request.gpu + 1)
    return driver.Accelerator(request.gpu)


def _build_for_host(request: CompileRequest, module: "Module", kernels: "KernelLibrary") -> None:
    from max.dtype import DType

    from implementations.max_graph.cpu.graphs.decoder import TextDecoder
    from implementations.max_graph.cpu.graphs.encoder import AudioEncoder
    from implementations.max_graph.cpu.graphs.mel import LogMel
    from implementations.max_graph.cpu.graphs.ops import KERNELS
    from implementations.max_graph.cpu.graphs.steps import DecoderSteps

    kernels.load_paths([KERNELS])
    matrices = request.matrices
    encoder_dtype = DType[matrices.encoder]
    AudioEncoder(request.dims, encoder_dtype).add_graphs(module, kernels)
    if request.graphs != ENCODER_GRAPHS:
        LogMel(request.dims.n_mels).add_graph(module, kernels)
        decoder = TextDecoder(request.dims, matrices)
        decoder.add_graphs(module, kernels)
        DecoderSteps(decoder).add_graphs(module, kernels)


def _build_for_gpu(request: CompileRequest, module: "Module", kernels: "KernelLibrary") -> None:
    from max.dtype import DType

    from implementations.max_graph.gpu.graphs.beams import BeamLoop
    from implementations.max_graph.gpu.graphs.decoder import TextDecoder
    from implementations.max_graph.gpu.graphs.encoder import AudioEncoder
    from implementations.max_graph.gpu.graphs.half_encoder import COLUMNS, HalfEncoder
    from implementations.max_graph.gpu.graphs.mel import LogMel
    from implementations.max_graph.gpu.graphs.ops import GPU, KERNELS
    from implementations.max_graph.gpu.graphs.sampling import DecodingLoop

    kernels.load_paths([KERNELS])
    GPU.id = request.gpu
    dtype = DType[request.matrices.encoder]
    is_half = dtype != DType.float32 and request.dims.n_audio_state % COLUMNS == 0
    encoder = HalfEncoder if is_half else AudioEncoder
    encoder(request.dims, dtype).add_graphs(module, kernels)
    if request.graphs != ENCODER_GRAPHS:
        LogMel(request.dims.n_mels).add_graph(module, kernels)
        decoder = TextDecoder(request.dims, dtype)
        decoder.add_graphs(module, kernels)
        DecodingLoop(decoder).add_graphs(module, kernels)
        BeamLoop(decoder).add_graphs(module, kernels)


def _end_with(parent: int, path: Path) -> None:
    """When the parent process is gone, killed or not, leave nothing running or lying about."""
    while os.getppid() == parent:
        time.sleep(0.5)
    with suppress(OSError):
        path.unlink(missing_ok=True)
        path.parent.rmdir()  # refused by a folder that holds anything else
    os._exit(1)


def main() -> None:
    """Compile what the command line asks for."""
    path = Path(sys.argv[2])
    threading.Thread(target=_end_with, args=(os.getppid(), path), daemon=True).start()
    compile_to(CompileRequest.from_json(sys.argv[1]), path)
    # The file is complete; taking MAX's worker threads down in order has been seen to abort.
    os._exit(0)


if __name__ == "__main__":
    main()
