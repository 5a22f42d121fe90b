"""`full-max`: Whisper in MAX graphs from the spectrogram to the logits; never imports torch."""

import threading
import time
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from max.driver import CPU, Buffer
from max.dtype import DType

from implementations.base import (
    HOST,
    Alignment,
    AudioFeatures,
    FloatArray,
    Heads,
    Implementation,
    LoadOptions,
)
from implementations.decoding.request import DecodedWindow, DecodeRequest
from implementations.max_graph.compile import ALL_GRAPHS, GPU_GRAPHS
from implementations.max_graph.cpu.graphs.step_ops import N_ADDRESSES
from implementations.max_graph.cpu.greedy import decode_greedily
from implementations.max_graph.cpu.load import LoadedGraphs, compile_graphs, is_cuda, load_graphs
from implementations.max_graph.cpu.session import (
    DecoderModels,
    MaxAudioFeatures,
    MaxSession,
    align,
    own_features,
)
from weights.checkpoint import Checkpoint


class FullMaxImplementation(Implementation):
    """Encoder and decoder compiled by MAX, with this project's kernels, on the CPU.

    On a GPU, `load` gives max_graph/gpu/model.py's `GpuModel` instead.
    """

    name: ClassVar[str] = "full-max"

    def __init__(self, graphs: LoadedGraphs) -> None:
        self.dims = graphs.dims
        self.device = "cpu"
        self.dtype = graphs.dtype
        self._graphs = graphs
        self._lock = threading.RLock()
        table = Buffer(DType.int64, (graphs.dims.n_text_layer, N_ADDRESSES), CPU())
        self._decoder = DecoderModels(graphs.dims, graphs.models, table, self._lock)

    @classmethod
    def load(cls, checkpoint: Checkpoint, options: LoadOptions) -> Implementation:
        """Read the compiled graphs, compiling them where that was never done, and the weights."""
        if is_cuda(options.device):
            from implementations.max_graph.gpu.implementation import GpuModel

            return GpuModel.load(checkpoint, options)
        return cls(load_graphs(checkpoint, ALL_GRAPHS, options))

    def log_mel(self, samples: FloatArray, filters: FloatArray) -> FloatArray:
        """[n_samples], [n_mels, 201] -> log10 band power, [n_frames, n_mels]."""
        inputs = (np.require(array, np.float32, ["C", "W"]) for array in (samples, filters))
        with self._lock:
            (frames,) = self._graphs.models["log_mel"].execute(*inputs)
        array: FloatArray = frames.to_numpy()
        return array

    @classmethod
    def compile(cls, checkpoint: Checkpoint, options: LoadOptions) -> None:
        """Compile the graphs for models of these sizes, where that was never done."""
        graphs = ALL_GRAPHS if options.target == HOST else GPU_GRAPHS
        compile_graphs(checkpoint, graphs, options)

    def encode(self, mel: FloatArray) -> MaxAudioFeatures:
        """[n_batch, n_mels, 3000] -> features of n_batch windows."""
        with self._lock:
            return MaxAudioFeatures(self._graphs.encode(mel))

    def weights(self) -> Iterator[tuple[str, FloatArray]]:
        """The weights, out of the layouts that the kernels read."""
        return self._graphs.weights()

    def trace_encoder(self, mel: FloatArray) -> list[FloatArray]:
        """[n_batch, n_mels, 3000] -> n_audio_layer + 1 states."""
        with self._lock:
            return self._graphs.encoder_states(mel)

    def close(self) -> None:
        """Free the weights."""
        with self._lock:
            self._graphs.close()

    def start(self, audio_features: AudioFeatures, n_group: int) -> MaxSession:
        """Open a session; several may be open at a time."""
        return MaxSession(self._decoder, own_features(audio_features), n_group)

    def decode(self, audio_features: AudioFeatures, request: DecodeRequest) -> DecodedWindow:
        """Decode one window; of greedy decoding only blocks of tokens come back here."""
        search = request.search
        if search.temperature > 0 or search.is_beam_search or search.n_group > 1:
            return super().decode(audio_features, request)
        began = time.perf_counter()
        with self.start(audio_features, 1) as session:
            return decode_greedily(session, request, began)

    def align(
        self, audio_features: AudioFeatures, tokens: Sequence[int], heads: Heads
    ) -> Alignment:
        """Cross-attention of the given heads over the tokens."""
        return align(self._decoder, own_features(audio_features), tokens, heads)
