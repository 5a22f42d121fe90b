"""The implementations by name, and whether each can run here, without importing any of them."""

import importlib
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from implementations import nvidia
from implementations.errors import ImplementationUnavailableError

if TYPE_CHECKING:
    from implementations.base import Implementation, LoadOptions
    from weights.checkpoint import Checkpoint

REFERENCE = "cpu"
"""The implementation that the others are held against."""

AUTO = "auto"
"""Stands for the fastest implementation that is ready: see `choose`."""

COMPILE_TARGETS = ("host", *(f"cuda:{name}" for name in nvidia.KNOWN_ARCHITECTURES))
"""What graphs may be compiled for ahead of time; H100 and H200 are `cuda:sm_90a`."""

DEVICE_KINDS = {"cpu": "CPU", "cuda": "NVIDIA GPU"}
"""What a device's name begins with, and what that is in words."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of an implementation before it is imported."""

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
    """What to do where they are not."""

    is_compiled: str | None = None
    """`module:function` that tells of a model whether its graphs are compiled; None: it has none.

    Apart from the class, since asking imports no framework.
    """

    @property
    def device(self) -> str:
        """Where it can run, in words."""
        return " or ".join(DEVICE_KINDS[kind] for kind in self.device_kinds)


ENTRIES: tuple[Entry, ...] = (
    Entry(
        name="cpu",
        encoder="PyTorch",
        decoder="PyTorch",
        device_kinds=("cpu",),
        target="implementations.cpu:CpuImplementation",
        packages=("torch", "whisper"),
        install="pip install torch openai-whisper",
    ),
    Entry(
        name="cuda",
        encoder="PyTorch",
        decoder="PyTorch",
        device_kinds=("cuda",),
        target="implementations.cuda:CudaImplementation",
        packages=("torch", "whisper"),
        install="pip install torch openai-whisper, with torch built for CUDA",
    ),
    Entry(
        name="hybrid",
        encoder="MAX",
        decoder="PyTorch",
        device_kinds=("cpu", "cuda"),
        target="implementations.hybrid:HybridImplementation",
        packages=("max", "torch"),
        install="pip install 'maxwhisper[max]'",
    ),
    Entry(
        name="full-max",
        encoder="MAX",
        decoder="MAX",
        device_kinds=("cpu", "cuda"),
        target="implementations.full_max:FullMaxImplementation",
        packages=("max",),
        install="pip install 'maxwhisper[max]'",
        is_compiled="implementations.max_graph.ready:is_compiled",
    ),
)


def names() -> tuple[str, ...]:
    """The names of all implementations, in the order they are shown."""
    return tuple(entry.name for entry in ENTRIES)


def entry(name: str) -> Entry:
    """The entry of that name.

    Raises:
        ImplementationUnavailableError: there is no such implementation.
    """
    for candidate in ENTRIES:
        if candidate.name == name:
            return candidate
    raise ImplementationUnavailableError(
        f"no implementation is called {name!r}; choose one of {', '.join(names())}"
    )


def unavailable_because(name: str) -> str | None:
    """Why an implementation cannot run here; None where it can, as far as one sees unloaded."""
    chosen = entry(name)
    missing = [p for p in chosen.packages if importlib.util.find_spec(p) is None]
    if missing:
        return f"{' and '.join(missing)} not installed; {chosen.install}"
    return _no_cuda_because() if name == "cuda" else None


def device_kind(device: str) -> str | None:
    """The key of `DEVICE_KINDS` for `cpu`, `cuda` or `cuda:N`; None of any other name."""
    if device == "cpu":
        return device
    return None if nvidia.gpu_index(device) is None else "cuda"


def default_device(name: str) -> str:
    """Where an implementation runs that is given no device: on a GPU, if there is one for it."""
    chosen = entry(name)
    runs_on_gpu = (
        "cuda" in chosen.device_kinds
        and nvidia.architecture("cuda") in nvidia.KNOWN_ARCHITECTURES
        and ("torch" not in chosen.packages or _no_cuda_because() is None)
    )
    return "cuda" if runs_on_gpu else chosen.device_kinds[0]


def compile_target(device: str) -> str | None:
    """Which of `COMPILE_TARGETS` a device of this machine is; None where it is none of them."""
    target = "host" if device == "cpu" else f"cuda:{nvidia.architecture(device)}"
    return target if target in COMPILE_TARGETS else None


def implementation_class(name: str) -> type["Implementation"]:
    """Import an implementation.

    Raises:
        ImplementationUnavailableError: unknown, or it cannot run here; the message says why.
    """
    chosen = entry(name)
    reason = unavailable_because(name)
    if reason is not None:
        raise ImplementationUnavailableError(f"implementation {name} cannot run here: {reason}")
    found: type[Implementation] = _attribute(chosen.target)
    return found


def is_compiled(name: str, checkpoint: "Checkpoint", options: "LoadOptions") -> bool:
    """Whether an implementation would load a model without compiling anything.

    Raises:
        ImplementationUnavailableError: it does not compute in that dtype on that device.
    """
    asked = entry(name).is_compiled
    return asked is None or bool(_attribute(asked)(checkpoint, options))


def _attribute(target: str) -> Any:  # noqa: ANN401  (a class or a function)
    """What `module:name` stands for."""
    module, name = target.split(":")
    return getattr(importlib.import_module(module), name)


def _no_cuda_because() -> str | None:
    """Why torch cannot use an NVIDIA GPU, judged by its version and the driver, unimported."""
    import importlib.metadata

    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:  # copied, not installed: nothing tells
        version = ""
    if version.endswith("+cpu"):
        return f"torch {version} is built without CUDA; install a CUDA build of torch"
    return nvidia.no_gpu_because()
