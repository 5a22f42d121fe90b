"""Whisper on the CPU in MAX graphs: `full-max` with `cpu` as its device."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import ClassVar, Self

import numpy as np
from max.driver import CPU, Buffer
from max.dtype import DType

from implementations.alignment import AlignmentRequest, TokenAlignment
from implementations.implementation import Implementation
from implementations.max_graph.cpu.greedy import decode_greedily
from implementations.max_graph.cpu.load import LoadedGraphs, load_graphs
from implementations.max_graph.cpu.row_decoder import CpuRowDecoder
from implementations.max_graph.cpu.session import (
    DecoderModels,
    MaxSession,
    align,
    align_text,
)
from implementations.max_graph.features import MaxAudioFeatures, own_features
from implementations.max_graph.load_plan import LoadPlan, make_plan
from implementations.options import LoadOptions
from implementations.request import DecodedWindow, DecodeRequest
from implementations.row_decoder import RowDecoder, RowWindow
from implementations.session import Alignment, AudioFeatures, FloatArray, Heads
from weights.checkpoint import Array, Checkpoint

_N_ADDRESSES = 28
"""`graphs.ops.N_ADDRESSES`; its module imports MAX's graph builder, which running needs not."""
_MAX_ROWS = 8
"""Rows of a large batch: each has keys and values of its own audio, so that more gain little."""
_ROWS_BYTES = 10**9
"""Bytes for keys and values of the audio of all rows: two rows of large-v3 have them."""


class CpuFullMax(Implementation):
    """Encoder and decoder compiled by MAX, with this project's kernels."""

    name: ClassVar[str] = "full-max"

    def __init__(self, graphs: LoadedGraphs) -> None:
        self.dims = graphs.dims
        self.device = "cpu"
        self.dtype = graphs.dtype
        self.load_report = graphs.report
        self._graphs = graphs
        self._lock = threading.RLock()
        table = Buffer(DType.int64, (graphs.dims.n_text_layer, _N_ADDRESSES), CPU())
        self._decoder = DecoderModels(graphs.dims, graphs.models, table, self._lock)

    @classmethod
    def load(cls, checkpoint: Checkpoint, options: LoadOptions) -> Self:
        """Loads graphs and weights, compiling graphs where that was never done."""
        return cls(load_graphs(checkpoint, make_plan(checkpoint, options, has_decoder=True)))

    @classmethod
    def of_plan(
        cls, checkpoint: Checkpoint, plan: LoadPlan, packing: "Future[dict[str, Array]]"
    ) -> Self:
        """Loads graphs as `load` does, with weights that another thread packs."""
        return cls(load_graphs(checkpoint, plan, packing))

    def log_mel(self, samples: FloatArray, filters: FloatArray) -> FloatArray:
        """[n_samples], [n_mels, 201] -> log10 band power, [n_frames, n_mels]."""
        inputs = (np.require(array, np.float32, ["C", "W"]) for array in (samples, filters))
        with self._lock:
            (frames,) = self._graphs.models["log_mel"].execute(*inputs)
        array: FloatArray = frames.to_numpy()
        return array

    def encode(self, mel: FloatArray) -> MaxAudioFeatures:
        """[n_batch, n_mels, 3000] -> features of n_batch windows."""
        with self._lock:
            return MaxAudioFeatures(self._graphs.encode(mel))

    def weights(self) -> Iterator[tuple[str, FloatArray]]:
        """Yields the weights, out of the layouts that the kernels read."""
        return self._graphs.weights()

    def trace_encoder(self, mel: FloatArray) -> list[FloatArray]:
        """[n_batch, n_mels, 3000] -> n_audio_layer + 1 states."""
        with self._lock:
            return self._graphs.encoder_states(mel)

    def close(self) -> None:
        """Frees the weights."""
        with self._lock:
            self._graphs.close()

    def start(self, audio_features: AudioFeatures, n_group: int) -> MaxSession:
        """Opens a session; several may be open at a time."""
        return MaxSession(self._decoder, own_features(audio_features), n_group)

    def decode(self, audio_features: AudioFeatures, request: DecodeRequest) -> DecodedWindow:
        """Decodes one window; greedy decoding comes back to the host once per block of tokens."""
        search = request.search
        if search.temperature > 0 or search.is_beam_search or search.n_group > 1:
            return super().decode(audio_features, request)
        if request.n_given:
            return self._decode_in_a_row(audio_features, request)
        began = time.perf_counter()
        with self.start(audio_features, 1) as session:
            return decode_greedily(session, request, began)

    def _decode_in_a_row(
        self, audio_features: AudioFeatures, request: DecodeRequest
    ) -> DecodedWindow:
        """Decodes one window whose first tokens are given, by the same sums as in more rows."""
        with CpuRowDecoder(self._decoder, 1) as rows:
            rows.add([RowWindow(0, audio_features, request)])
            (result,) = rows.advance()
        if result.decoded is None:
            assert result.error is not None, "a row ends with a decoding or an error"
            raise result.error
        return result.decoded

    @property
    def default_rows(self) -> int:
        """Eight, which cost 3.7 times one row; fewer if their audio takes more than 1 GB."""
        dims = self.dims
        of_each = 4 * dims.n_audio_ctx * 2 * dims.n_text_layer * dims.n_text_state
        return min(_MAX_ROWS, max(1, _ROWS_BYTES // of_each))

    def row_decoder(self, n_rows: int) -> RowDecoder:
        """Opens rows that share each read of the weights; a single one decodes as `decode`."""
        if n_rows == 1:
            return super().row_decoder(n_rows)
        return CpuRowDecoder(self._decoder, n_rows)

    def align(
        self, audio_features: AudioFeatures, tokens: Sequence[int], heads: Heads
    ) -> Alignment:
        """Computes cross-attention of the given heads over the tokens."""
        return align(self._decoder, own_features(audio_features), tokens, heads)

    def align_batch(
        self, audio_features: AudioFeatures, requests: Sequence[AlignmentRequest]
    ) -> list[TokenAlignment]:
        """Aligns the text of each window in one graph, one window after the other."""
        features = own_features(audio_features)
        return [
            align_text(self._decoder, features[i], request) for i, request in enumerate(requests)
        ]
