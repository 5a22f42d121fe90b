"""All of Whisper on a GPU, as an implementation: what `full-max` is with a GPU as its device."""

import threading
from collections.abc import Iterator, Sequence
from typing import ClassVar, Self

from max.driver import Buffer
from max.dtype import DType

from implementations.base import (
    Alignment,
    AudioFeatures,
    FloatArray,
    Implementation,
    LoadOptions,
)
from implementations.decoding.request import DecodedWindow, DecodeRequest
from implementations.max_graph.compile import GPU_GRAPHS
from implementations.max_graph.gpu.greedy_run import GreedyRunner
from implementations.max_graph.gpu.load import GpuGraphs, load_gpu_graphs
from implementations.max_graph.gpu.session import (
    DecoderModels,
    GpuAudioFeatures,
    GpuSession,
    align,
)
from weights.checkpoint import Checkpoint


class GpuModel(Implementation):
    """Encoder, decoder and the greedy loop on the device; other searches choose on the host."""

    name: ClassVar[str] = "full-max"

    def __init__(self, graphs: GpuGraphs) -> None:
        self.dims = graphs.dims
        self.device = f"cuda:{graphs.device.id}"
        self.dtype = graphs.dtype
        self._graphs = graphs
        self._lock = threading.RLock()
        self._decoder = DecoderModels(
            graphs.dims, DType[graphs.dtype], graphs.device, graphs.models, self._lock
        )
        self._greedy: GreedyRunner | None = None
        """Kept from the first greedy window on, with its step recorded."""
        self._filters: tuple[FloatArray, Buffer] | None = None
        """The mel filters last used, here and on the GPU."""

    @classmethod
    def load(cls, checkpoint: Checkpoint, options: LoadOptions) -> Self:
        """Read the compiled graphs, compiling them where that was never done, and the weights."""
        return cls(load_gpu_graphs(checkpoint, GPU_GRAPHS, options))

    def log_mel(self, samples: FloatArray, filters: FloatArray) -> FloatArray:
        """[n_samples], [n_mels, 201] -> log10 band power, [n_frames, n_mels]."""
        with self._lock:
            if self._filters is None or self._filters[0] is not filters:
                self._filters = filters, self._graphs.upload(filters)
            return self._graphs.log_mel(samples, self._filters[1])

    def encode(self, mel: FloatArray) -> GpuAudioFeatures:
        """[n_batch, n_mels, 3000] -> features of n_batch windows."""
        with self._lock:
            return GpuAudioFeatures(self._graphs.encode(mel))

    def decode(self, audio_features: AudioFeatures, request: DecodeRequest) -> DecodedWindow:
        """Decode one window; greedy decoding stays on the device until it ends."""
        search = request.search
        if search.temperature > 0 or search.is_beam_search or search.n_group > 1:
            return super().decode(audio_features, request)
        with self._lock:
            audio = self._decoder.hear(_own(audio_features))
            if self._greedy is None:
                self._greedy = self._new_greedy(audio, request)
            self._greedy.buffers.audio.inplace_copy_from(audio)
            return self._greedy.decode([request])[0]

    def _new_greedy(self, audio: Buffer, request: DecodeRequest) -> GreedyRunner:
        """A runner over a copy of the audio, which has run once, as recording its step requires."""
        own = Buffer.zeros(audio.shape, audio.dtype, audio.device)
        own.inplace_copy_from(audio)
        runner = GreedyRunner(self._decoder, 1, own)
        runner.decode([request])
        runner.capture()
        return runner

    def wait(self) -> None:
        """Wait for the GPU."""
        self._graphs.device.synchronize()

    def weights(self) -> Iterator[tuple[str, FloatArray]]:
        """The weights, out of the layouts that the kernels read."""
        return self._graphs.weights()

    def trace_encoder(self, mel: FloatArray) -> list[FloatArray]:
        """[n_batch, n_mels, 3000] -> n_audio_layer + 1 states."""
        with self._lock:
            return self._graphs.encoder_states(mel)

    def start(self, audio_features: AudioFeatures, n_group: int) -> GpuSession:
        """Open a session; several may be open at a time."""
        return GpuSession(self._decoder, _own(audio_features), n_group)

    def align(
        self,
        audio_features: AudioFeatures,
        tokens: Sequence[int],
        heads: Sequence[tuple[int, int]],
    ) -> Alignment:
        """Cross-attention of the given heads over the tokens."""
        return align(self._decoder, _own(audio_features), tokens, heads)


def _own(audio_features: AudioFeatures) -> GpuAudioFeatures:
    assert isinstance(audio_features, GpuAudioFeatures), "features of another implementation"
    return audio_features
