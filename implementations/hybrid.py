"""`hybrid`: the encoder as a MAX graph, the decoder in PyTorch."""

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch.utils.dlpack import from_dlpack

from implementations.alignment import AlignmentRequest, TokenAlignment
from implementations.implementation import Implementation
from implementations.max_graph.cpu.load import LoadedGraphs, load_graphs
from implementations.max_graph.load_plan import is_cuda, make_plan
from implementations.max_graph.ready import compile_ahead
from implementations.options import LoadOptions, LoadReport
from implementations.row_decoder import RowDecoder
from implementations.session import Alignment, AudioFeatures, DecoderSession, FloatArray, Heads
from implementations.torch_decoder.decoder import TextDecoder
from implementations.torch_decoder.load import PREFIX, load_decoder
from implementations.torch_decoder.row_decoder import TorchRowDecoder
from implementations.torch_decoder.session import (
    DecoderAudioFeatures,
    TorchDecoderSession,
    align,
    align_texts,
)
from implementations.torch_tensors import DTYPES, find_gpu, float32_array, free
from weights.checkpoint import Checkpoint

if TYPE_CHECKING:
    from implementations.max_graph.gpu.load import GpuGraphs


class HybridImplementation(Implementation):
    """MAX encodes, PyTorch decodes; features pass between them without a copy."""

    name: ClassVar[str] = "hybrid"

    def __init__(self, graphs: "LoadedGraphs | GpuGraphs", decoder: TextDecoder) -> None:
        weight = decoder.token_embedding.weight
        self.dims = decoder.dims
        self.device = str(weight.device)
        self.dtype = graphs.dtype
        self.load_report = graphs.report
        self._graphs = graphs
        self._decoder = decoder
        self._decoder_dtype = weight.dtype
        self._lock = threading.Lock()

    @classmethod
    def load(cls, checkpoint: Checkpoint, options: LoadOptions) -> Self:
        """Compiles or reads the encoder, and builds the decoder."""
        graphs: LoadedGraphs | GpuGraphs
        if is_cuda(options.device):
            from implementations.max_graph.gpu.load import load_gpu_graphs

            graphs = load_gpu_graphs(checkpoint, options, has_decoder=False)
            device, dtype = find_gpu(options.device or "cuda"), DTYPES[graphs.dtype]
        else:
            graphs = load_graphs(checkpoint, make_plan(checkpoint, options, has_decoder=False))
            device, dtype = torch.device("cpu"), torch.float32
        if options.n_threads:
            torch.set_num_threads(options.n_threads)
        loaded = cls(graphs, load_decoder(checkpoint, device, dtype))
        loaded.alignment_heads = checkpoint.alignment_heads
        return loaded

    @classmethod
    def compile(
        cls, checkpoint: Checkpoint, options: LoadOptions, target: str | None = None
    ) -> LoadReport:
        """Compiles the graphs for models of these sizes that are not in the cache."""
        return compile_ahead(checkpoint, options, target, has_decoder=False)

    def encode(self, mel: FloatArray) -> AudioFeatures:
        """[n_batch, n_mels, 3000] -> features of n_batch windows."""
        with self._lock:
            buffer = self._graphs.encode(mel)
            buffer.device.synchronize()  # PyTorch works on a stream of its own
            features = from_dlpack(buffer).to(self._decoder_dtype)
            if features.is_cuda:
                torch.cuda.current_stream(features.device).synchronize()  # buffer may go now
        return DecoderAudioFeatures(features)

    def weights(self) -> Iterator[tuple[str, FloatArray]]:
        """Yields the encoder's weights as MAX holds them and the decoder's as PyTorch does."""
        yield from self._graphs.weights()
        for name, tensor in self._decoder.state_dict().items():
            yield PREFIX + name, float32_array(tensor)

    def trace_encoder(self, mel: FloatArray) -> list[FloatArray]:
        """[n_batch, n_mels, 3000] -> n_audio_layer + 1 states."""
        with self._lock:
            return self._graphs.encoder_states(mel)

    def close(self) -> None:
        """Frees the weights of both."""
        with self._lock:
            self._graphs.close()
            free(self._decoder)

    def start(self, audio_features: AudioFeatures, n_group: int) -> DecoderSession:
        """Opens a session; several may be open at a time."""
        return TorchDecoderSession(self._decoder, audio_features, n_group)

    def row_decoder(self, n_rows: int) -> RowDecoder:
        """Opens rows that share the decoder's dense layers; a single one decodes as `decode`."""
        if n_rows == 1:
            return super().row_decoder(n_rows)
        return TorchRowDecoder(self._decoder, n_rows)

    def align(
        self, audio_features: AudioFeatures, tokens: Sequence[int], heads: Heads
    ) -> Alignment:
        """Computes cross-attention of the given heads over the tokens."""
        return align(self._decoder, audio_features, tokens, heads)

    def align_batch(
        self, audio_features: AudioFeatures, requests: Sequence[AlignmentRequest]
    ) -> list[TokenAlignment]:
        """Aligns the text of each window, on the decoder's device."""
        return align_texts(self._decoder, audio_features, requests)
