"""Views into a loaded model for comparing implementations; nothing that transcribes needs them."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from implementations.errors import ImplementationFailedError
from implementations.implementation import Implementation
from implementations.session import FloatArray


@runtime_checkable
class Diagnostics(Protocol):
    """An implementation whose weights and encoder states can be read back."""

    def weights(self) -> Iterator[tuple[str, FloatArray]]:
        """Yields the weights as the implementation holds them, by canonical name, in float32."""

    def trace_encoder(self, mel: FloatArray) -> list[FloatArray]:
        """Returns the encoder's state after its convolutions and after each block.

        [n_batch, n_mels, 3000] -> n_audio_layer + 1 arrays [n_batch, n_audio_ctx, n_audio_state].
        """


def diagnostics(implementation: Implementation) -> Diagnostics:
    """Returns the implementation under the protocol.

    Raises:
        ImplementationFailedError: It does not let its weights and states be read.
    """
    if not isinstance(implementation, Diagnostics):
        raise ImplementationFailedError(
            f"{implementation.name} does not expose its weights and states; compare its text"
            " with `maxwhisper compare`"
        )
    return implementation
