"""Options and report of loading a model onto a device; plain data."""

from collections.abc import Callable
from dataclasses import dataclass

AUTO = "auto"
"""The dtype that is the fastest of those that keep an implementation's accuracy."""

EXACT = "float32"
"""The dtype that every implementation has: sums in float32 over the checkpoint's own numbers."""

CompileProgress = Callable[[str], None]
"""Called with a line of text as compiling begins, and again as it ends."""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """Device, dtype and threads to load a model with."""

    device: str | None = None
    """`cpu`, `cuda`, `cuda:1`; None is the kind that the implementation always has."""
    dtype: str | None = None
    """`float32`, `float16`, `bfloat16`, `int8`, or `auto`: the fastest that keeps the accuracy.

    None takes the implementation's default for the device: exact float32 on a CPU.
    """
    n_threads: int = 0
    """CPU threads; 0 leaves the library's own default."""
    on_compile: CompileProgress | None = None
    """Called by implementations that compile."""
    n_audio_ctx: int | None = None
    """Positions of the encoder, of a model for live text; None is all. Models come shortened."""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """Record of a loading or compiling that has ended."""

    compiled_seconds: float = 0.0
    """Time spent compiling, waiting for another process's compiler included; 0 for none."""
    import_seconds: float = 0.0
    """Time spent importing a framework that loading had to choose; 0 if it was imported before."""
    notes: tuple[str, ...] = ()
    """Lines for the user, such as that compiled graphs could not be stored."""
