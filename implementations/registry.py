"""The implementations by name, and their availability here, without importing any of them."""

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from implementations import cuda_driver, gpu_targets, nvidia
from implementations.errors import ImplementationUnavailableError
from implementations.memory import no_address_space_because
from implementations.processor_threads import let_threads_sleep

if TYPE_CHECKING:
    from implementations.implementation import Implementation
    from implementations.options import LoadOptions
    from weights.checkpoint import Checkpoint

REFERENCE = "cpu"
"""The implementation that the others are compared with."""

AUTO = "auto"
"""Name for the fastest implementation that is ready: see `choose`."""

COMPILE_TARGETS = ("host", *gpu_targets.TARGETS)
"""Targets that graphs may be compiled for ahead of time; H100 and H200 are `cuda:sm_90a`."""

CPU_PROBE = "implementations.max_graph.cpu.cpu_level:no_level_because"
"""`module:function` that returns the reason why the MAX graphs do not run on this processor."""

DEVICE_KINDS = {"cpu": "CPU", "cuda": "NVIDIA GPU"}
"""First part of a device's name, and that kind of device in words."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Facts about an implementation that need no import of it."""

    name: str
    encoder: str
    decoder: str
    device_kinds: tuple[str, ...]
    """Keys of `DEVICE_KINDS`, the one that is always there first."""
    target: str
    """`module:Class`, imported on first use."""
    packages: tuple[str, ...]
    """Top-level packages that must be installed."""
    install: str
    """Command that installs them."""

    speed_rank: Mapping[str, int] = field(default_factory=dict, hash=False)
    """By device kind, 1 for the fastest; `auto` leaves out kinds that are missing."""
    gpu_probes: tuple[Callable[[str], str | None], ...] = ()
    """Functions that return the reason why it cannot use a GPU, by the device's name."""
    cpu_probe: str | None = None
    """`module:function` that returns the reason why it cannot run on this processor."""
    address_space_bytes: int = 0
    """Address space that it needs for the smallest model, as was measured on Linux."""
    is_exact_only: bool = False
    """True if `auto` offers it for float32 alone; other dtypes are slower and less exact."""
    is_compiled: str | None = None
    """`module:function` that returns True for a model whose graphs are compiled.

    Apart from the class, since asking imports no framework. None if nothing is compiled.
    """

    @property
    def compiles(self) -> bool:
        """True if loading may compile graphs."""
        return self.is_compiled is not None

    def no_gpu_because(self, device: str = "cuda") -> str | None:
        """Returns the reason why it cannot use a GPU here; None if it can."""
        reasons = (probe(device) for probe in self.gpu_probes)
        return next((reason for reason in reasons if reason is not None), None)

    def no_cpu_because(self) -> str | None:
        """Returns the reason why it cannot run on this processor; None if it can."""
        return None if self.cpu_probe is None else _attribute(self.cpu_probe)()

    def usable_gpu(self) -> str | None:
        """Returns `cuda`, or if it cannot use that the first `cuda:N` that it can; else None."""
        devices = ("cuda", *(f"cuda:{gpu.index}" for gpu in nvidia.gpus()[1:]))
        return next((name for name in devices if self.no_gpu_because(name) is None), None)

    @property
    def device(self) -> str:
        """Kinds of device that it runs on, in words."""
        return " or ".join(DEVICE_KINDS[kind] for kind in self.device_kinds)


def _no_torch_gpu_because(device: str) -> str | None:
    return nvidia.no_torch_gpu_because(device)


def _no_max_gpu_because(device: str) -> str | None:
    return nvidia.no_max_gpu_because(device)


_MAX_BYTES, _TORCH_BYTES = 3_200_000_000, 900_000_000
_SMALLEST_MODEL_ELEMENTS = 37_000_000
_BYTES_PER_ELEMENT = 8
"""The file as it is mapped, and the weights as they are packed, in four bytes each."""

ENTRIES: tuple[Entry, ...] = (
    Entry(
        name="cpu",
        encoder="PyTorch",
        decoder="PyTorch",
        device_kinds=("cpu",),
        target="implementations.cpu:CpuImplementation",
        packages=("torch", "whisper"),
        install="pip install torch openai-whisper",
        speed_rank={"cpu": 4},
        address_space_bytes=_TORCH_BYTES,
        is_exact_only=True,
    ),
    Entry(
        name="cuda",
        encoder="PyTorch",
        decoder="PyTorch",
        device_kinds=("cuda",),
        target="implementations.cuda:CudaImplementation",
        packages=("torch", "whisper"),
        install="pip install torch openai-whisper, with torch built for CUDA",
        speed_rank={"cuda": 2},
        gpu_probes=(_no_torch_gpu_because,),
        address_space_bytes=_TORCH_BYTES,
    ),
    Entry(
        name="hybrid",
        encoder="MAX",
        decoder="PyTorch",
        device_kinds=("cpu", "cuda"),
        target="implementations.hybrid:HybridImplementation",
        packages=("max", "torch"),
        install="pip install 'maxwhisper[max]'",
        gpu_probes=(_no_torch_gpu_because, _no_max_gpu_because),
        cpu_probe=CPU_PROBE,
        address_space_bytes=_MAX_BYTES + _TORCH_BYTES,
        is_compiled="implementations.max_graph.ready:is_hybrid_compiled",
    ),
    Entry(
        name="full-max",
        encoder="MAX",
        decoder="MAX",
        device_kinds=("cpu", "cuda"),
        target="implementations.full_max:FullMaxImplementation",
        packages=("max",),
        install="pip install 'maxwhisper[max]'",
        speed_rank={"cuda": 1, "cpu": 3},
        gpu_probes=(_no_max_gpu_because,),
        cpu_probe=CPU_PROBE,
        address_space_bytes=_MAX_BYTES,
        is_compiled="implementations.max_graph.ready:is_full_max_compiled",
    ),
)


def names() -> tuple[str, ...]:
    """Returns the names of all implementations, in the order in which they are shown."""
    return tuple(entry.name for entry in ENTRIES)


def fastest_first() -> tuple[tuple[str, str], ...]:
    """Returns (name, device kind) of all that `auto` chooses from, fastest first."""
    ranked = [
        (rank, chosen.name, kind) for chosen in ENTRIES for kind, rank in chosen.speed_rank.items()
    ]
    return tuple((name, kind) for _, name, kind in sorted(ranked))


def entry(name: str) -> Entry:
    """Returns the entry of a name.

    Raises:
        ImplementationUnavailableError: There is no such implementation.
    """
    for candidate in ENTRIES:
        if candidate.name == name:
            return candidate
    raise ImplementationUnavailableError(
        f"no implementation is called {name!r}; choose one of {', '.join(names())}"
    )


def unavailable_because(name: str) -> str | None:
    """Returns the reason why an implementation cannot run here; None if nothing is known."""
    chosen = entry(name)
    missing = [p for p in chosen.packages if importlib.util.find_spec(p) is None]
    if missing:
        return f"{' and '.join(missing)} not installed; {chosen.install}"
    if (no_space := no_address_space_because(chosen.address_space_bytes)) is not None:
        return no_space
    if "cuda" in chosen.device_kinds and chosen.usable_gpu() is not None:
        return None
    return chosen.no_cpu_because() if "cpu" in chosen.device_kinds else chosen.no_gpu_because()


def check_address_space(name: str, checkpoint: "Checkpoint") -> None:
    """Checks that this process may map a model's weights beside all else.

    Raises:
        ImplementationUnavailableError: It may not, and the library would end the process.
    """
    least = entry(name).address_space_bytes
    n_elements = sum(array.size for array in checkpoint.tensors.values())
    more = _BYTES_PER_ELEMENT * max(0, n_elements - _SMALLEST_MODEL_ELEMENTS)
    if least and (reason := no_address_space_because(least + more)) is not None:
        raise ImplementationUnavailableError(f"implementation {name} cannot run here: {reason}")


def device_kind(device: str) -> str | None:
    """Returns the key of `DEVICE_KINDS` for `cpu`, `cuda` or `cuda:N`; None of any other name."""
    if device == "cpu":
        return device
    return None if cuda_driver.gpu_index(device) is None else "cuda"


def default_device(name: str) -> str:
    """Returns the device for an implementation that is given none: a GPU, if it can use one."""
    chosen = entry(name)
    gpu = chosen.usable_gpu() if "cuda" in chosen.device_kinds else None
    return gpu or chosen.device_kinds[0]


def compile_target(device: str) -> str | None:
    """Returns the compile target of a device of this machine; None if there is none."""
    target = "host" if device == "cpu" else gpu_targets.target_of(str(nvidia.architecture(device)))
    return target if target in COMPILE_TARGETS else None


def implementation_class(name: str) -> type["Implementation"]:
    """Imports an implementation.

    Raises:
        ImplementationUnavailableError: The name is unknown, or it cannot run here.
    """
    chosen = entry(name)
    reason = unavailable_because(name)
    if reason is not None:
        raise ImplementationUnavailableError(f"implementation {name} cannot run here: {reason}")
    let_threads_sleep()
    found: type[Implementation] = _attribute(chosen.target)
    return found


def is_compiled(name: str, checkpoint: "Checkpoint", options: "LoadOptions") -> bool:
    """Returns True if an implementation would load a model without compiling.

    Raises:
        ImplementationUnavailableError: It does not compute in that dtype on that device.
    """
    probe = entry(name).is_compiled
    return probe is None or bool(_attribute(probe)(checkpoint, options))


def _attribute(target: str) -> Any:  # noqa: ANN401  (a class or a function)
    """Imports the object called `module:name`."""
    module, name = target.split(":")
    return getattr(importlib.import_module(module), name)
