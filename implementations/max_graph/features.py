"""Encoder output in a MAX buffer, on the CPU or a GPU."""

from typing import Self

from max.driver import Buffer

from implementations.session import AudioFeatures, FloatArray


class MaxAudioFeatures(AudioFeatures):
    """Encoder output in a MAX buffer [n_batch, n_audio_ctx, n_audio_state]."""

    def __init__(self, buffer: Buffer) -> None:
        self.buffer = buffer
        self.cross_kv: list[Buffer] | None = None
        """Cross-attention's keys and values, once a session has needed them."""

    def __len__(self) -> int:
        return int(self.buffer.shape[0])

    def __getitem__(self, index: int) -> Self:
        if len(self) == 1 and index in {0, -1}:
            return self  # with the keys and values it may hold
        first = index % len(self)
        return type(self)(self.buffer[first : first + 1, :, :])  # of the same memory

    def numpy(self) -> FloatArray:
        """A float32 copy on the host."""
        array: FloatArray = self.buffer.to_numpy().copy()
        return array


def own_features(audio_features: AudioFeatures) -> MaxAudioFeatures:
    """The features of an implementation on MAX."""
    assert isinstance(audio_features, MaxAudioFeatures), "features of another implementation"
    return audio_features
