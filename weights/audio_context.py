"""Checkpoints for shorter audio: the first positions of the encoder alone.

Whisper's encoder reads 30 s however short the audio is. Its positional embedding is a table, whose
beginning serves for shorter windows. Nothing else of a model depends on the number of positions.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from weights.checkpoint import Array, Checkpoint

_POSITIONS_PER_SECOND = 50
_POSITIONS = "encoder.positional_embedding"


def positions_of(seconds: float) -> int:
    """Returns the number of the encoder's positions for so many seconds of audio."""
    return round(seconds * _POSITIONS_PER_SECOND)


def shorten_audio_context(checkpoint: Checkpoint, n_audio_ctx: int | None) -> Checkpoint:
    """Returns a checkpoint whose encoder reads windows of `n_audio_ctx` positions, 20 ms each.

    Args:
        checkpoint: A model.
        n_audio_ctx: Number of positions, at most those of the model; None leaves it as it is.
    """
    if n_audio_ctx is None or n_audio_ctx == checkpoint.dims.n_audio_ctx:
        return checkpoint
    assert 0 < n_audio_ctx <= checkpoint.dims.n_audio_ctx, "more positions than the model has"
    shortened = _Shortened(checkpoint.tensors, n_audio_ctx)
    dims = replace(checkpoint.dims, n_audio_ctx=n_audio_ctx)
    return replace(checkpoint, dims=dims, tensors=shortened)


class _Shortened(Mapping[str, Array]):
    """Tensors of a checkpoint, with a shorter table of positions; nothing is copied."""

    def __init__(self, tensors: Mapping[str, Array], n_audio_ctx: int) -> None:
        self._tensors = tensors
        self._n_audio_ctx = n_audio_ctx

    def __getitem__(self, name: str) -> Array:
        tensor = self._tensors[name]
        return tensor[: self._n_audio_ctx] if name == _POSITIONS else tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)
