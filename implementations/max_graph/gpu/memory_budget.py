"""Memory that a batch of windows needs on a GPU, checked before anything is computed."""

from max.driver import Device

from implementations.errors import ImplementationFailedError
from weights.dims import ModelDimensions

_SHARE = 0.85
"""Share of the memory that may be used; MAX keeps some, and some falls between allocations."""
_ENCODER_BYTES = 80
"""Bytes for each number of the encoder's output: 37 measured with tiny.en, 79 with large-v3."""


def fits(dims: ModelDimensions, n_windows: int, n_group: int, device: Device) -> bool:
    """Returns True where a batch with `n_group` hypotheses a window fits; one window always may."""
    if n_windows == 1:
        return True
    total = device.stats.get("total_memory")
    return total is None or bytes_needed(dims, n_windows, n_group) <= _SHARE * total


def check_fits(dims: ModelDimensions, n_windows: int, n_group: int, device: Device) -> None:
    """Refuses a batch that cannot fit.

    Raises:
        ImplementationFailedError: the batch needs more memory than there is.
    """
    if not fits(dims, n_windows, n_group, device):
        of_each = f", {n_group} hypotheses of each," if n_group > 1 else ""
        needed, total = bytes_needed(dims, n_windows, n_group), device.stats["total_memory"]
        raise ImplementationFailedError(
            f"{n_windows} windows at once{of_each} need about {needed / 1e9:.0f} GB, and "
            f"cuda:{device.id} has {total / 1e9:.0f} GB; use a smaller --batch-size"
        )


def bytes_needed(dims: ModelDimensions, n_windows: int, n_group: int) -> int:
    """Returns the bytes that encoding and decoding hold at once, in half precision.

    They are the encoder's workspace, which MAX keeps while decoding goes on; cross-attention's keys
    and values, as computed and as stored; the KV cache, and logits.
    """
    encoder = dims.n_audio_ctx * (dims.n_audio_state * _ENCODER_BYTES + 2 * dims.n_mels * 6)
    width = dims.n_text_layer * 2 * dims.n_text_state * 2
    decoder = width * 2 * dims.n_audio_ctx
    decoder += n_group * (width * dims.n_text_ctx + 4 * dims.n_vocab)
    weights = 2 * (
        12 * dims.n_audio_layer * dims.n_audio_state**2
        + 16 * dims.n_text_layer * dims.n_text_state**2
        + dims.n_vocab * dims.n_text_state
    )
    return weights + n_windows * (encoder + decoder)
