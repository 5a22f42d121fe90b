"""Whisper on a GPU in MAX graphs: `full-max` with `cuda` as its device."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar, Self

from max.driver import Buffer
from max.dtype import DType

from implementations.implementation import Implementation
from implementations.max_graph.features import MaxAudioFeatures, own_features
from implementations.max_graph.gpu.beam_decoder import BeamRunner
from implementations.max_graph.gpu.device_decoder import Runner
from implementations.max_graph.gpu.graphs.ops import MOST
from implementations.max_graph.gpu.load import GpuGraphs, load_gpu_graphs
from implementations.max_graph.gpu.memory_budget import check_room, has_room
from implementations.max_graph.gpu.sampling_decoder import LoopRunner
from implementations.max_graph.gpu.session import (
    DecoderModels,
    GpuSession,
    align,
)
from implementations.options import LoadOptions
from implementations.request import DecodedWindow, DecodeRequest, Search
from implementations.session import Alignment, AudioFeatures, FloatArray, Heads
from weights.checkpoint import Checkpoint

_MOST_RUNNERS = 3
"""One for whole batches, one for what is left of them, and one for windows that failed."""


class GpuFullMax(Implementation):
    """Encoder, decoder and its loop on the device."""

    name: ClassVar[str] = "full-max"
    mel_frames_at_once: ClassVar[int] = 16384

    def __init__(self, graphs: GpuGraphs) -> None:
        self.dims = graphs.dims
        self.device = f"cuda:{graphs.device.id}"
        self.dtype = graphs.dtype
        self.load_report = graphs.report
        self._graphs = graphs
        self._lock = threading.RLock()
        self._decoder = DecoderModels(
            graphs.dims, DType[graphs.dtype], graphs.device, graphs.models, self._lock
        )
        self._runners: dict[tuple[type[Runner], int, int], Runner] = {}
        """By windows and hypotheses, the last used at the end."""
        self._filters: tuple[FloatArray, Buffer] | None = None
        """The mel filters last used, here and on the GPU."""

    @classmethod
    def load(cls, checkpoint: Checkpoint, options: LoadOptions) -> Self:
        """Loads graphs and weights, compiling graphs where that was never done."""
        return cls(load_gpu_graphs(checkpoint, options, has_decoder=True))

    def log_mel(self, samples: FloatArray, filters: FloatArray) -> FloatArray:
        """[n_samples], [n_mels, 201] -> log10 band power, [n_frames, n_mels]."""
        with self._lock:
            if self._filters is None or self._filters[0] is not filters:
                self._filters = filters, self._graphs.upload(filters)
            return self._graphs.log_mel(samples, self._filters[1])

    def encode(self, mel: FloatArray) -> MaxAudioFeatures:
        """[n_batch, n_mels, 3000] -> features of n_batch windows.

        Raises:
            ImplementationFailedError: there is no room for so many, decoding included.
        """
        check_room(self.dims, len(mel), 1, self._graphs.device)
        with self._lock:
            return MaxAudioFeatures(self._graphs.encode(mel))

    def decode(self, audio_features: AudioFeatures, request: DecodeRequest) -> DecodedWindow:
        """Decode one window, on the device until it ends but for more beams than it takes."""
        if request.n_given == 0 and _is_for_device(request.search):
            return self._decode_on_device(own_features(audio_features), [request])[0]
        return super().decode(audio_features, request)

    def decode_batch(
        self, audio_features: AudioFeatures, requests: Sequence[DecodeRequest]
    ) -> list[DecodedWindow]:
        """Decode each window by its request; by the same rules and search, all at once.

        Raises:
            ImplementationFailedError: there is no room for so many hypotheses.
        """
        searches = {replace(request.search, seed=()) for request in requests}
        have_same_rules = all(
            request.n_given == 0 and request.rules == requests[0].rules for request in requests
        )
        if len(searches) == 1 and have_same_rules and _is_for_device(*searches):
            return self._decode_on_device(own_features(audio_features), requests)
        return super().decode_batch(audio_features, requests)

    def _decode_on_device(
        self, audio_features: MaxAudioFeatures, requests: Sequence[DecodeRequest]
    ) -> list[DecodedWindow]:
        search, n_windows = requests[0].search, len(requests)
        kind = BeamRunner if search.is_beam_search else LoopRunner
        key = kind, n_windows, search.n_group
        with self._lock:
            runner = self._runners.pop(key, None)
            if runner is None:
                check_room(self.dims, n_windows, search.n_group, self._graphs.device)
                self._make_room(n_windows, search.n_group)
                runner = kind(self._decoder, self._decoder.hear(audio_features), search.n_group)
            self._runners[key] = runner
            runner.audio.inplace_copy_from(self._decoder.hear(audio_features))
            return runner.decode(requests)

    def _make_room(self, n_windows: int, n_group: int) -> None:
        """Let go of the runners that were used longest ago, as far as another one asks for it."""
        while self._runners:
            all_windows = n_windows + sum(runner.n_windows for runner in self._runners.values())
            most_group = max(n_group, *(runner.n_group for runner in self._runners.values()))
            fits = has_room(self.dims, all_windows, most_group, self._graphs.device)
            if fits and len(self._runners) < _MOST_RUNNERS:
                return
            self._runners.pop(next(iter(self._runners))).close()

    def wait(self) -> None:
        """Wait until the device has done all that it was given."""
        self._graphs.device.synchronize()

    def close(self) -> None:
        """Free the weights, and what was kept for decoding."""
        with self._lock:
            while self._runners:
                self._runners.popitem()[1].close()
            self._filters = None
            self._graphs.close()

    def weights(self) -> Iterator[tuple[str, FloatArray]]:
        """The weights, out of the layouts that the kernels read."""
        return self._graphs.weights()

    def trace_encoder(self, mel: FloatArray) -> list[FloatArray]:
        """[n_batch, n_mels, 3000] -> n_audio_layer + 1 states."""
        with self._lock:
            return self._graphs.encoder_states(mel)

    def start(self, audio_features: AudioFeatures, n_group: int) -> GpuSession:
        """Open a session; several may be open at a time."""
        return GpuSession(self._decoder, own_features(audio_features), n_group)

    def align(
        self, audio_features: AudioFeatures, tokens: Sequence[int], heads: Heads
    ) -> Alignment:
        """Cross-attention of the given heads over the tokens."""
        return align(self._decoder, own_features(audio_features), tokens, heads)


def _is_for_device(search: Search) -> bool:
    """Whether its loop runs there; of beams as many as have their likeliest tokens found."""
    return not search.is_beam_search or search.n_group < MOST
