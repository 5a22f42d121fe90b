"""Levels of processors that graphs are compiled for; imports no MAX.

A level is a set of instructions: code compiled for it runs on every processor that has them.
MAXWHISPER_CPU=avx2, avx512 or bf16 restricts to less than the processor has, to try the code of
another one.
"""

import ctypes
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from implementations.errors import ImplementationUnavailableError

FORCED = "MAXWHISPER_CPU"

_CPUINFO = Path("/proc/cpuinfo")
_AVX2 = {"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}
"""`abm` has lzcnt, which processors without it take for another instruction, without a fault."""
_AVX512 = _AVX2 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
_BF16 = _AVX512 | {"avx512_bf16", "avx512_vnni"}
_AMX = _BF16 | {
    *("amx_tile", "amx_bf16", "amx_int8", "avx512_fp16"),
    *("avx512vbmi", "avx512_vbmi2", "avx512_bitalg", "avx512_vpopcntdq", "avx512ifma"),
    *("avx_vnni", "gfni", "vaes", "vpclmulqdq"),
}

_SYS_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XFEATURE_XTILEDATA = 158, 0x1023, 18


@dataclass(frozen=True, slots=True)
class CpuLevel:
    """A level, the least first in `LEVELS`."""

    name: str
    target: str
    """The compiler's name for a processor that has no more than this."""
    flags: frozenset[str]
    """Flags in /proc/cpuinfo of every processor that has the level."""


LEVELS = (
    CpuLevel("avx2", "x86-64-v3", frozenset(_AVX2)),
    CpuLevel("avx512", "x86-64-v4", frozenset(_AVX512)),
    CpuLevel("bf16", "cooperlake", frozenset(_BF16)),
    CpuLevel("amx", "sapphirerapids", frozenset(_AMX)),
)


def cpu_level() -> str:
    """Returns the name of the highest level that may be used here.

    For `amx` this asks the system to let this process use the tiles, once and for all its threads;
    the process that compiles need not, the one that runs graphs must have.

    Raises:
        ImplementationUnavailableError: it is no x86-64 processor under Linux, or lacks even the
            least of them, or the level that MAXWHISPER_CPU asks for.
    """
    forced = os.environ.get(FORCED)
    names = [level.name for level in LEVELS]
    if (system := (platform.system(), platform.machine())) != ("Linux", "x86_64"):
        raise ImplementationUnavailableError(
            "the MAX graphs for CPUs are written and tested for Linux on x86-64, and this is"
            f" {' on '.join(system)}; use --impl cpu"
        )
    if forced and forced not in names:
        raise ImplementationUnavailableError(
            f"{FORCED}={forced} is not known; use {', '.join(names)}, or unset it"
        )
    has = [level.name for level in LEVELS if level.flags <= _flags()]
    if not has:
        raise ImplementationUnavailableError(
            "the MAX graphs need a processor with AVX2, FMA and F16C (2013 on); use --impl cpu"
        )
    if "amx" in has and forced in {None, "amx"} and not _tiles_granted():
        has.remove("amx")
    if forced and forced not in has:
        raise ImplementationUnavailableError(
            f"{FORCED}={forced} is more than this processor offers; use {has[-1]}, or unset it"
        )
    return forced or has[-1]


def no_level_because() -> str | None:
    """Returns the reason why the MAX graphs do not run on this processor; None if they do."""
    try:
        cpu_level()
    except ImplementationUnavailableError as error:
        return str(error)
    return None


def compiler_target(level: str) -> str:
    """Returns the compiler's name for a level."""
    return next(known.target for known in LEVELS if known.name == level)


def _flags() -> frozenset[str]:
    """Returns the flags of the first processor, as Linux names them."""
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    lines = (line.partition(":") for line in text.splitlines())
    words = next((words for name, _, words in lines if name.strip() == "flags"), "")
    return frozenset(words.split())


def _tiles_granted() -> bool:
    """Asks the system to let this process use AMX's tiles: arch_prctl(2), Linux 5.16 on."""
    request = (_SYS_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XFEATURE_XTILEDATA)
    return ctypes.CDLL(None).syscall(*request) == 0
