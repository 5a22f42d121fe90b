"""What implementations raise when they cannot run here, or fail to."""

from weights.errors import MaxWhisperError


class ImplementationUnavailableError(MaxWhisperError):
    """An implementation cannot run on this machine; the message says why and what to install."""


class ImplementationFailedError(MaxWhisperError):
    """An implementation could run here, and failed: out of memory, a driver's error."""


class NotNumbersError(ImplementationFailedError):
    """A model computes NaN or infinity: half precision is too narrow for it, or it is broken."""

    def __init__(self) -> None:
        super().__init__(
            "the model's logits are not numbers (NaN): try --dtype float32; if that is what it"
            " runs in, its weights are broken: fetch them again"
        )
