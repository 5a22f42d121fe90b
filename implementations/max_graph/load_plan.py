"""Decides target, dtype and graphs for a model, once; the plan is handed down. Imports no MAX."""

from dataclasses import dataclass

from implementations import cuda_driver, gpu_targets, nvidia
from implementations.errors import ImplementationUnavailableError
from implementations.max_graph.cpu import dtypes as cpu_dtypes
from implementations.max_graph.cpu.cpu_level import compiler_target, cpu_level
from implementations.max_graph.gpu import dtypes as gpu_dtypes
from implementations.max_graph.request import (
    CPU_DECODER_GRAPHS,
    ENCODER_GRAPHS,
    GPU_GRAPHS,
    HOST,
    CompileRequest,
    MatrixTypes,
)
from implementations.options import CompileProgress, LoadOptions
from weights.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """Graphs, dtype and device for a model."""

    requests: tuple[CompileRequest, ...]
    """One for each artifact; those that `hybrid` and `full-max` have in common are equal."""
    matrices: MatrixTypes
    dtype: str
    """Type that is shown to the user."""
    n_threads: int
    on_compile: CompileProgress | None

    @property
    def stacks(self) -> tuple[str, ...]:
        """Parts of the model whose weights the graphs read."""
        has_decoder = any(request.has_decoder for request in self.requests)
        return ("encoder", "decoder") if has_decoder else ("encoder",)


def is_cuda(device: str | None) -> bool:
    """Tells the name of an NVIDIA GPU from others."""
    return device is not None and device.partition(":")[0] == "cuda"


def make_plan(
    checkpoint: Checkpoint,
    options: LoadOptions,
    *,
    has_decoder: bool,
    target: str | None = None,
) -> LoadPlan:
    """Decides target, dtype and graphs.

    Args:
        checkpoint: The model.
        options: Device and dtype as a user asks for them.
        has_decoder: False for the encoder alone.
        target: `host` or `cuda:ARCHITECTURE`; None is the device of the options in this machine.

    Raises:
        ImplementationUnavailableError: the graphs do not run on that device, or not in that dtype.
    """
    if target is None and is_cuda(options.device):
        target = gpu_targets.target_of(str(nvidia.architecture(str(options.device))))
    if target not in {None, HOST}:
        return _plan_for_gpu(checkpoint, options, str(target), has_decoder=has_decoder)
    if options.device not in {None, "cpu"}:
        raise ImplementationUnavailableError(
            f"the MAX graphs do not run on {options.device}; use --device cpu, cuda or cuda:N"
        )
    return _plan_for_cpu(checkpoint, options, has_decoder=has_decoder)


def _plan_for_cpu(checkpoint: Checkpoint, options: LoadOptions, *, has_decoder: bool) -> LoadPlan:
    level, dims = cpu_level(), checkpoint.dims
    dtype = cpu_dtypes.choose_dtype(options.dtype, dims, level, has_decoder=has_decoder)
    matrices, cpu_target = cpu_dtypes.matrix_types(checkpoint, dtype, level), compiler_target(level)
    of_encoder = MatrixTypes(matrices.encoder, matrices.encoder, matrices.encoder)
    requests = [CompileRequest(ENCODER_GRAPHS, dims, of_encoder, cpu_target=cpu_target)]
    if has_decoder:
        decoder = CompileRequest(CPU_DECODER_GRAPHS, dims, matrices, cpu_target=cpu_target)
        requests.insert(0, decoder)  # takes longer: its compiler starts first
    return LoadPlan(tuple(requests), matrices, dtype, options.n_threads, options.on_compile)


def _plan_for_gpu(
    checkpoint: Checkpoint, options: LoadOptions, target: str, *, has_decoder: bool
) -> LoadPlan:
    dtype = gpu_dtypes.choose_dtype(options.dtype)
    matrices = MatrixTypes(dtype, dtype, dtype)
    request = CompileRequest(
        GPU_GRAPHS if has_decoder else ENCODER_GRAPHS,
        checkpoint.dims,
        matrices,
        target,
        gpu=cuda_driver.gpu_index(options.device or "cuda") or 0,
    )
    return LoadPlan((request,), matrices, dtype, options.n_threads, options.on_compile)
