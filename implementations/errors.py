"""Errors and warnings of implementations."""

from weights.errors import MaxWhisperError


class ImplementationUnavailableError(MaxWhisperError):
    """An implementation cannot run on this machine; the message has the reason and a remedy."""


class ImplementationFailedError(MaxWhisperError):
    """An implementation failed while running: out of memory, a driver's error."""


class NonFiniteLogitsError(ImplementationFailedError):
    """A model computes NaN or infinity: half precision is too narrow for it, or it is damaged."""

    def __init__(self) -> None:
        super().__init__(
            "the model's logits are not numbers (NaN): try --dtype float32; if that is what it"
            " runs in, its weights are broken: fetch them again"
        )
