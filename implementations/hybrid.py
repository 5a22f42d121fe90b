"""`hybrid`: the encoder as a MAX graph, the decoder openai-whisper's PyTorch model."""

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch.utils.dlpack import from_dlpack

from implementations.base import (
    Alignment,
    AudioFeatures,
    DecoderSession,
    FloatArray,
    Heads,
    Implementation,
    LoadOptions,
)
from implementations.max_graph.compile import ENCODER_GRAPHS
from implementations.max_graph.load import LoadedGraphs, compile_graphs, is_cuda, load_graphs
from implementations.torch_model.implementation import TorchImplementation, own_tensor
from implementations.torch_model.load import DTYPES, build_model, find_gpu
from implementations.torch_model.session import LeanTorchSession, TorchAudioFeatures
from weights.checkpoint import Checkpoint

if TYPE_CHECKING:
    from implementations.max_graph.gpu.load import GpuGraphs


class HybridImplementation(Implementation):
    """MAX encodes, PyTorch decodes; features pass between them without a copy."""

    name: ClassVar[str] = "hybrid"

    def __init__(self, graphs: "LoadedGraphs | GpuGraphs", decoder: "TorchDecoder") -> None:
        self.dims = decoder.dims
        self.device = decoder.device
        self.dtype = decoder.dtype
        self._graphs = graphs
        self._decoder = decoder
        self._lock = threading.Lock()

    @classmethod
    def load(cls, checkpoint: Checkpoint, options: LoadOptions) -> Self:
        """Compile or read the encoder; keep of PyTorch's model only the decoder."""
        graphs: LoadedGraphs | GpuGraphs
        if is_cuda(options.device):
            from implementations.max_graph.gpu.load import load_gpu_graphs

            graphs = load_gpu_graphs(checkpoint, ENCODER_GRAPHS, options)
            device, dtype = find_gpu(options.device or "cuda"), DTYPES[graphs.dtype]
        else:
            graphs = load_graphs(checkpoint, ENCODER_GRAPHS, options)
            device, dtype = torch.device("cpu"), torch.float32
        if options.n_threads:
            torch.set_num_threads(options.n_threads)
        model = build_model(checkpoint, device, dtype, with_encoder=False)
        return cls(graphs, TorchDecoder(model, checkpoint, device))

    @classmethod
    def compile(cls, checkpoint: Checkpoint, options: LoadOptions) -> None:
        """Compile the graphs for models of these sizes, where that was never done."""
        compile_graphs(checkpoint, ENCODER_GRAPHS, options)

    def encode(self, mel: FloatArray) -> AudioFeatures:
        """[n_batch, n_mels, 3000] -> features of n_batch windows."""
        with self._lock:
            buffer = self._graphs.encode(mel)
            buffer.device.synchronize()  # PyTorch works on a stream of its own
            features = from_dlpack(buffer).to(DTYPES[self.dtype])
            if features.is_cuda:
                torch.cuda.current_stream(features.device).synchronize()  # buffer may go now
        return TorchAudioFeatures(features)

    def weights(self) -> Iterator[tuple[str, FloatArray]]:
        """The encoder's as MAX holds them, the decoder's as PyTorch does."""
        yield from self._graphs.weights()
        yield from self._decoder.weights()

    def trace_encoder(self, mel: FloatArray) -> list[FloatArray]:
        """[n_batch, n_mels, 3000] -> n_audio_layer + 1 states."""
        with self._lock:
            return self._graphs.encoder_states(mel)

    def start(self, audio_features: AudioFeatures, n_group: int) -> DecoderSession:
        """Open a session; waits while another thread has one open."""
        return self._decoder.start(audio_features, n_group)

    def align(
        self, audio_features: AudioFeatures, tokens: Sequence[int], heads: Heads
    ) -> Alignment:
        """Cross-attention of the given heads over the tokens."""
        return self._decoder.align(audio_features, tokens, heads)


class TorchDecoder(TorchImplementation):
    """Openai-whisper's model without its encoder."""

    def start(self, audio_features: AudioFeatures, n_group: int) -> LeanTorchSession:
        """Open a session; waits while another thread has one open."""
        return LeanTorchSession(self._model, own_tensor(audio_features), n_group, self._lock)
