"""NVIDIA GPUs that the MAX graphs are compiled for: architectures, and the GPUs that have them.

Imports no framework. A GPU runs code of its own architecture; where the name of that has no letter,
GPUs of a later minor version and the same major one run it too.
"""

import os
import re

from implementations.max_graph.request import HOPPER, PORTABLE

ARCHITECTURES = ("sm_80", HOPPER, "sm_100a", "sm_120a")
"""Architectures that graphs are compiled for; code for sm_80 serves all GPUs of 8.0 to 8.9."""
KERNELS_SWITCH = "MAXWHISPER_GPU_KERNELS"
"""Environment variable: `portable` runs the kernels of all other GPUs on Hopper too."""
TARGETS = (*(f"cuda:{name}" for name in ARCHITECTURES), f"cuda:{HOPPER}{PORTABLE}")
"""Targets of graphs, those of GPUs that need not be here."""

_GPUS = {
    "sm_80": "A100, A30, A800",
    "sm_86": "RTX 3050, RTX 3060, RTX 3070, RTX 3080, RTX 3090, RTX A2000, RTX A4000, RTX A4500, "
    "RTX A5000, RTX A5500, RTX A6000, A2, A10, A16, A40",
    "sm_89": "RTX 4050, RTX 4060, RTX 4070, RTX 4080, RTX 4090, RTX 2000 Ada, RTX 4000 Ada, "
    "RTX 4500 Ada, RTX 5000 Ada, RTX 5880 Ada, RTX 6000 Ada, L2, L4, L20, L40, L40S",
    "sm_90a": "H100, H200, H20, H800, GH200",
    "sm_100a": "B100, B200, GB200",
    "sm_120a": "RTX 5050, RTX 5060, RTX 5070, RTX 5080, RTX 5090, RTX PRO 2000, RTX PRO 4000, "
    "RTX PRO 4500, RTX PRO 5000, RTX PRO 6000",
}
"""Architectures, and names of GPUs that have them: NVIDIA, CUDA GPU Compute Capability, 2026."""
_MAKERS = re.compile(r"\b(nvidia|geforce|tesla|quadro|generation)\b")
_KINDS = re.compile(
    r"\b(ti|super|laptop|gpu|mobile|d|pcie|sxm\d?|nvl|hbm\d\w?|\d+ ?gb|blackwell|workstation|"
    r"server|max q|edition)\b"
)
"""Words that do not change the architecture of a GPU."""


def parse_target(text: str) -> str | None:
    """Returns the target that a name stands for, one of `TARGETS`; None if it is not known.

    The name is that of an architecture, such as `cuda:sm_89`, or of a GPU, such as `RTX 4090`.
    """
    if text in TARGETS:
        return text
    api, _, architecture = text.partition(":")
    if api != "cuda":
        architecture = _architectures().get(_shortened(text), "")
    compiled = compiled_architecture(architecture)
    return None if compiled is None else f"cuda:{compiled}"


def target_of(architecture: str) -> str:
    """Returns the target of a GPU in this machine, with portable kernels if these are asked for.

    Args:
        architecture: The GPU's own; one that nothing is compiled for gives an unknown target.
    """
    compiled = compiled_architecture(architecture) or architecture
    is_asked_for = os.environ.get(KERNELS_SWITCH) == PORTABLE.removeprefix("+")
    return f"cuda:{compiled}" + (PORTABLE if is_asked_for and compiled == HOPPER else "")


def compiled_architecture(architecture: str) -> str | None:
    """Returns which of `ARCHITECTURES` has the code that a GPU runs; None if none has.

    It is the GPU's own, or that of an earlier minor version whose name has no letter.
    """
    digits = architecture.removeprefix("sm_").rstrip("a")
    if not digits.isdecimal():
        return None
    earlier = (f"sm_{digits[:-1]}{minor}" for minor in range(int(digits[-1]), -1, -1))
    return next((name for name in (architecture, *earlier) if name in ARCHITECTURES), None)


def _architectures() -> dict[str, str]:
    """Returns architectures by shortened names."""
    return {
        _shortened(name): architecture
        for architecture, names in _GPUS.items()
        for name in names.split(",")
    }


def _shortened(name: str) -> str:
    """Returns a GPU's name without maker, kind and spaces: `rtx4090` of `GeForce RTX 4090 Ti`."""
    words = re.sub(r"[-_\s]+", " ", name.lower())
    words = re.sub(r"(\d)(ti|super)\b", r"\1 \2", words)
    return _KINDS.sub("", _MAKERS.sub("", words)).replace(" ", "")
