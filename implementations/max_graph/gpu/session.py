"""Decoder sessions on a GPU, whose logits the host reads; compiles nothing, holds no weights."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from max.driver import Buffer, Device, batch_inplace_copy
from max.dtype import DType
from max.engine import Model

from implementations.max_graph.features import MaxAudioFeatures
from implementations.max_graph.gpu.memory_budget import MemoryBudget
from implementations.session import Alignment, DecoderSession, FloatArray, Heads, IntArray
from weights.dims import ModelDimensions


@dataclass(frozen=True, slots=True)
class DecoderModels:
    """The decoder's compiled graphs with their weights, and the lock under which they run."""

    dims: ModelDimensions
    dtype: DType
    device: Device
    models: dict[str, Model]
    lock: threading.RLock
    budget: MemoryBudget

    def upload(self, values: Sequence[Any] | npt.NDArray[Any]) -> Buffer:
        """Returns a copy of integers on the device."""
        return Buffer.from_numpy(np.ascontiguousarray(values, np.int32)).to(self.device)

    def compute_cross_kv(self, audio_features: MaxAudioFeatures) -> Buffer:
        """Returns cross-attention's keys and values, which are computed once per window."""
        with self.lock:
            if audio_features.cross_kv is None:
                model = self.models["cross_kv"]
                audio_features.cross_kv = model.execute(audio_features.buffer)
            (cross_kv,) = audio_features.cross_kv
            return cross_kv

    def new_audio(self, n_windows: int) -> Buffer:
        """Returns a buffer for cross-attention's keys and values of so many windows."""
        dims = self.dims
        shape = (n_windows, dims.n_audio_ctx, 2 * dims.n_text_layer * dims.n_text_state)
        return Buffer.zeros(shape, self.dtype, self.device)

    def compute_all_cross_kv(self, windows: Sequence[MaxAudioFeatures]) -> list[Buffer]:
        """Returns cross-attention's keys and values of each window, [1, n_audio_ctx, ...].

        Those of all windows that have none yet are computed at once.
        """
        with self.lock:
            missing = [window for window in windows if window.cross_kv is None]
            if missing:
                shape = (len(missing), *missing[0].buffer.shape[1:])
                features = Buffer(missing[0].buffer.dtype, shape, self.device)
                parts = [features[i : i + 1, :, :] for i in range(len(missing))]
                batch_inplace_copy(parts, [window.buffer for window in missing])
                (cross_kv,) = self.models["cross_kv"].execute(features)
                for i, window in enumerate(missing):
                    window.cross_kv = [cross_kv[i : i + 1, :, :]]
            return [self.compute_cross_kv(window) for window in windows]

    def new_cache(self, n_slots: int) -> Buffer:
        """Returns an empty KV cache for n_slots hypotheses."""
        dims = self.dims
        shape = (dims.n_text_layer, n_slots, dims.n_text_ctx, 2 * dims.n_text_state)
        return Buffer.zeros(shape, self.dtype, self.device)


class GpuSession(DecoderSession):
    """Hypotheses of one window, with a KV cache of their own.

    Each hypothesis writes into its own slot. A table tells the slot of each position, so that
    reordering moves slot numbers and no keys or values.
    """

    def __init__(
        self,
        models: DecoderModels,
        audio_features: MaxAudioFeatures,
        n_group: int,
    ) -> None:
        self._models = models
        self._audio = models.compute_cross_kv(audio_features)
        self._cache: Buffer | None = models.new_cache(n_group)
        self._slots = np.zeros((n_group, models.dims.n_text_ctx), np.int32)
        self._n_filled = 0

    def prefill(self, tokens: Sequence[int], positions: Sequence[int]) -> FloatArray:
        """[n_prompt] -> [n_positions, n_vocab]; fed once, then shared by all hypotheses."""
        logits = self._run(np.array([tokens]), self._slots[:1], positions)
        self._n_filled = len(tokens)
        return logits

    def step(self, tokens: IntArray) -> FloatArray:
        """[n_group] -> [n_group, n_vocab]."""
        n_group = len(self._slots)
        self._slots[:, self._n_filled] = np.arange(n_group)
        logits = self._run(tokens[:, None], self._slots, range(n_group))
        self._n_filled += 1
        return logits

    def reorder(self, source_indices: Sequence[int]) -> None:
        """Lets hypothesis i continue the text of hypothesis source_indices[i]."""
        self._slots = self._slots[list(source_indices)]

    def close(self) -> None:
        """Frees the cache."""
        self._cache = None

    def _run(
        self, tokens: IntArray, slots: npt.NDArray[np.int32], rows: Sequence[int]
    ) -> FloatArray:
        assert self._cache is not None, "the session is closed"
        models, n_rows = self._models, len(tokens)
        feed = (tokens, [self._n_filled] * n_rows, slots, [0] * n_rows, list(rows))
        with models.lock:
            (logits,) = models.models["decoder"].execute(
                *(models.upload(values) for values in feed), self._cache, self._audio
            )
            array: FloatArray = logits.to_numpy()[0]
        return array


def align(
    models: DecoderModels,
    audio_features: MaxAudioFeatures,
    tokens: Sequence[int],
    heads: Heads,
) -> Alignment:
    """Returns cross-attention scores of chosen heads, and logits, over a whole token sequence."""
    n_tokens = len(tokens)
    shape = (1, len(heads), n_tokens, models.dims.n_audio_ctx)
    scores = Buffer.zeros(shape, DType.float32, models.device)
    slots = np.zeros((1, models.dims.n_text_ctx))
    feed = ([tokens], [0], slots, [0], list(range(n_tokens)))
    with models.lock:
        (logits,) = models.models["alignment"].execute(
            *(models.upload(values) for values in feed),
            models.new_cache(1),
            models.compute_cross_kv(audio_features),
            scores,
            models.upload(heads),
        )
        return Alignment(scores.to_numpy()[0], logits.to_numpy()[0])
