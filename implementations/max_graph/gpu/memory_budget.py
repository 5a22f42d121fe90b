"""Memory that a batch of windows needs on a GPU, beside what is free; imports no MAX.

MAX asks for memory while graphs run, where a refusal ends a window. So what a batch needs is
computed before anything is: from sizes, and two figures that were measured on an H100.
"""

import os
import re
from dataclasses import dataclass, fields

from implementations.errors import ImplementationFailedError, ImplementationUnavailableError
from weights.dims import ModelDimensions

LIMIT = "MAXWHISPER_GPU_MEMORY"
"""Environment variable: memory of the GPU that may be planned with, such as `8GiB` or `6000MB`."""

_SHARE = 0.85
"""Share of the free memory for batches; MAX keeps some, and some falls between allocations."""
_MEL_SHARE = 1 / 32
"""Share of the free memory for log-mel frames that stay on the GPU, beside that for batches."""
_MAX_MEL_BYTES = 4 * 2**30
"""Bytes of these frames at most: 37 hours at 80 bands."""
_ENCODER_BYTES = 80
"""Bytes of workspace for each number of the encoder's output in half precision: 37 were measured
with tiny.en, 79 with large-v3. In float32 it is twice as much."""
_MEL_BYTES = 12
"""Bytes of workspace for each number of the log-mel window."""
_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Z]*)")


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """Bytes that encoding and decoding hold at once."""

    weights: int
    workspace: int
    """Workspace of the encoder, which MAX keeps while decoding goes on."""
    captured: int
    """Input and output of the encoder that is captured for a single window."""
    cross_kv: int
    """Cross-attention's keys and values, as computed and as stored."""
    kv_cache: int
    logits: int

    @classmethod
    def of(
        cls, dims: ModelDimensions, dtype: str, n_windows: int, n_group: int = 1
    ) -> "MemoryNeed":
        """Returns the need of windows with `n_group` hypotheses each.

        Args:
            dims: Sizes of the model.
            dtype: Type of matrices and caches.
            n_windows: Windows that are encoded and decoded at once.
            n_group: Hypotheses of each: beams or samples.
        """
        n_bytes = 4 if dtype == "float32" else 2
        n_elements = (
            12 * dims.n_audio_layer * dims.n_audio_state**2
            + 16 * dims.n_text_layer * dims.n_text_state**2
            + dims.n_vocab * dims.n_text_state
        )
        n_features = dims.n_audio_ctx * dims.n_audio_state
        n_mel = 2 * dims.n_audio_ctx * dims.n_mels
        encoder = n_features * _ENCODER_BYTES * n_bytes // 2 + n_mel * _MEL_BYTES // 2
        keys_and_values = 2 * dims.n_text_layer * dims.n_text_state * n_bytes
        return cls(
            weights=n_bytes * n_elements,
            workspace=n_windows * encoder,
            captured=n_bytes * n_features + 4 * n_mel,
            cross_kv=n_windows * 2 * dims.n_audio_ctx * keys_and_values,
            kv_cache=n_windows * n_group * dims.n_text_ctx * keys_and_values,
            logits=n_windows * n_group * 4 * dims.n_vocab,
        )

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return sum(int(getattr(self, field.name)) for field in fields(self))


@dataclass(frozen=True, slots=True)
class MemoryBudget:
    """Memory of a GPU for one model, fixed when it is loaded."""

    dims: ModelDimensions
    dtype: str
    device: str
    """Name for messages: `cuda:0`."""
    available_bytes: int | None
    """Free before the weights were loaded, or the limit if that is less; None if unknown."""
    total_bytes: int | None

    @property
    def mel_bytes(self) -> int:
        """Bytes of log-mel frames that may stay on the GPU, of all recordings that are open."""
        return min(_MAX_MEL_BYTES, int(_MEL_SHARE * (self.available_bytes or 0)))

    def fits(self, n_windows: int, n_group: int = 1) -> bool:
        """Returns True where a batch with `n_group` hypotheses a window fits.

        A single window may take all that is free, and a single hypothesis is always tried.
        """
        if self.available_bytes is None or n_windows == n_group == 1:
            return True
        share = 1.0 if n_windows == 1 else _SHARE
        return self._needed(n_windows, n_group) <= share * self.available_bytes

    def check_fits(self, n_windows: int, n_group: int = 1) -> None:
        """Refuses a batch that cannot fit.

        Raises:
            ImplementationFailedError: The batch needs more memory than is free.
        """
        if self.fits(n_windows, n_group):
            return
        of_each = f", {n_group} hypotheses of each," if n_group > 1 else ""
        what = f"{n_windows} windows at once{of_each} need"
        options = "--batch-size"
        if n_windows == 1:
            what, options = f"{n_group} hypotheses of a window need", "--beam-size or --best-of"
        raise ImplementationFailedError(
            f"{what} about {_gib(self._needed(n_windows, n_group))}, and {self._has()};"
            f" use a smaller {options}, or --model"
        )

    def check_model_fits(self) -> None:
        """Refuses a model that cannot fit with a single window and hypothesis.

        Raises:
            ImplementationUnavailableError: It needs more memory than is free.
        """
        needed = self._needed(1, 1)
        if self.available_bytes is not None and needed > self.available_bytes:
            raise ImplementationUnavailableError(
                f"this model needs about {_gib(needed)} in {self.dtype}, and {self._has()};"
                " use a smaller --model or --device cpu; nvidia-smi shows who else uses the GPU"
            )

    def _needed(self, n_windows: int, n_group: int) -> int:
        return MemoryNeed.of(self.dims, self.dtype, n_windows, n_group).total_bytes

    def _has(self) -> str:
        free = f"{self.device} has {_gib(self.available_bytes or 0)} free"
        total = "" if self.total_bytes is None else f" of {_gib(self.total_bytes)}"
        limit = f" ({LIMIT}={os.environ[LIMIT]})" if os.environ.get(LIMIT) else ""
        return f"{free}{total}{limit}"


def limited(free_bytes: int | None) -> int | None:
    """Returns free memory, or what MAXWHISPER_GPU_MEMORY allows if that is less.

    Raises:
        ImplementationUnavailableError: The variable is no amount of memory.
    """
    text = os.environ.get(LIMIT, "").strip()
    if not text:
        return free_bytes
    amount = _AMOUNT.fullmatch(text.upper())
    if amount is None or amount[2] not in _UNITS:
        raise ImplementationUnavailableError(
            f"{LIMIT}={text} is no amount of memory; write 8GiB or 6000MB, or unset it"
        )
    limit = int(float(amount[1]) * _UNITS[amount[2]])
    return limit if free_bytes is None else min(limit, free_bytes)


def _gib(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.1f} GiB"
