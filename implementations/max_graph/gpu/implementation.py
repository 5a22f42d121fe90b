"""Whisper on a GPU in MAX graphs: `full-max` with `cuda` as its device."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar, Self

from max.driver import Buffer
from max.dtype import DType

from implementations.alignment import AlignmentRequest, TokenAlignment
from implementations.implementation import Implementation, Meanwhile, nothing
from implementations.max_graph.features import MaxAudioFeatures, own_features
from implementations.max_graph.gpu.aligner import TextAligner
from implementations.max_graph.gpu.beam_decoder import BeamDecoder
from implementations.max_graph.gpu.device_decoder import DeviceDecoder
from implementations.max_graph.gpu.load import GpuGraphs, load_gpu_graphs
from implementations.max_graph.gpu.mel import GpuMel
from implementations.max_graph.gpu.row_decoder import GpuRowDecoder, runs_on_device
from implementations.max_graph.gpu.sampling_decoder import SamplingDecoder
from implementations.max_graph.gpu.session import (
    DecoderModels,
    GpuSession,
    align,
)
from implementations.mel_frames import MelFrames, MelWindow
from implementations.options import LoadOptions
from implementations.request import DecodedWindow, DecodeRequest
from implementations.row_decoder import RowDecoder
from implementations.session import Alignment, AudioFeatures, FloatArray, Heads
from weights.checkpoint import Checkpoint

_MAX_DECODERS = 3
"""Decoders that are kept: for whole batches, for the rest of them, and for windows that failed."""

_ROWS = (64, 32, 16, 8, 4, 2, 1)
"""Numbers of rows to choose from."""


class GpuFullMax(Implementation):
    """Encoder, decoder and the decode loop on the device.

    Beam search of up to `TOP_K` - 1 beams runs there; with more beams the host's generic loop runs,
    whose sessions have no such limit and take longer for each step.
    """

    name: ClassVar[str] = "full-max"
    mel_frames_at_once: ClassVar[int] = 16384
    windows_at_once: ClassVar[int] = 32

    def __init__(self, graphs: GpuGraphs) -> None:
        self.dims = graphs.dims
        self.device = f"cuda:{graphs.device.id}"
        self.dtype = graphs.dtype
        self.load_report = graphs.report
        self._graphs = graphs
        self._lock = threading.RLock()
        self._models = DecoderModels(
            graphs.dims,
            DType[graphs.dtype],
            graphs.device,
            graphs.models,
            self._lock,
            graphs.budget,
        )
        self._decoders: dict[tuple[type[DeviceDecoder], int, int], DeviceDecoder] = {}
        """Decoders by windows and hypotheses, the last used at the end."""
        self._rows: GpuRowDecoder | None = None
        """The rows last opened, whose buffers are used again."""
        self._aligner = TextAligner(self._models, self._idle_decoder)
        self._mel = GpuMel(graphs, self._lock)
        self._filters: tuple[FloatArray, Buffer] | None = None
        """The mel filters last used, here and on the GPU."""

    @classmethod
    def load(cls, checkpoint: Checkpoint, options: LoadOptions) -> Self:
        """Loads graphs and weights, compiling graphs where that was never done."""
        return cls(load_gpu_graphs(checkpoint, options, has_decoder=True))

    def log_mel(self, samples: FloatArray, filters: FloatArray) -> FloatArray | MelFrames:
        """[n_samples], [n_mels, 201] -> log10 band power, [n_frames, n_mels], on the GPU.

        They are returned on the host once the recordings that are open fill the memory for frames.
        """
        with self._lock:
            if self._filters is None or self._filters[0] is not filters:
                self._filters = filters, self._graphs.upload(filters)
            uploaded = self._filters[1]
        return self._mel.frames(samples, uploaded)

    def encode(self, mel: FloatArray) -> MaxAudioFeatures:
        """[n_batch, n_mels, 3000] -> features of n_batch windows.

        Raises:
            ImplementationFailedError: memory does not suffice for so many, decoding included.
        """
        self._graphs.budget.check_fits(len(mel))
        with self._lock:
            return MaxAudioFeatures(self._graphs.encode(mel))

    def encode_frames(self, windows: Sequence[MelWindow]) -> MaxAudioFeatures:
        """Encodes windows of frames that are on the GPU.

        Raises:
            ImplementationFailedError: memory does not suffice for so many, decoding included.
        """
        self._graphs.budget.check_fits(len(windows))
        with self._lock:
            mel = self._mel.windows(windows, 2 * self.dims.n_audio_ctx)
            return MaxAudioFeatures(self._graphs.encode(mel))

    def decode(self, audio_features: AudioFeatures, request: DecodeRequest) -> DecodedWindow:
        """Decodes one window, on the device until it ends unless it has `TOP_K` beams or more."""
        if request.n_given == 0 and runs_on_device(request.search):
            return self._decode_on_device(own_features(audio_features), [request])[0]
        return super().decode(audio_features, request)

    def decode_batch(
        self, audio_features: AudioFeatures, requests: Sequence[DecodeRequest]
    ) -> list[DecodedWindow]:
        """Decodes each window by its request, all at once where rules and search are the same.

        Raises:
            ImplementationFailedError: memory does not suffice for so many hypotheses.
        """
        searches = {replace(request.search, seed=()) for request in requests}
        have_same_rules = all(
            request.n_given == 0 and request.rules == requests[0].rules for request in requests
        )
        if len(searches) == 1 and have_same_rules and runs_on_device(*searches):
            return self._decode_on_device(own_features(audio_features), requests)
        return super().decode_batch(audio_features, requests)

    def _decode_on_device(
        self, audio_features: MaxAudioFeatures, requests: Sequence[DecodeRequest]
    ) -> list[DecodedWindow]:
        search, n_windows = requests[0].search, len(requests)
        kind = BeamDecoder if search.is_beam_search else SamplingDecoder
        key = kind, n_windows, search.n_group
        with self._lock:
            decoder = self._decoders.pop(key, None)
            if decoder is None:
                self._graphs.budget.check_fits(n_windows, search.n_group)
                self._close_rows()
                self._evict_decoders(n_windows, search.n_group)
                decoder = kind(self._models, self._models.new_audio(n_windows), search.n_group)
            self._decoders[key] = decoder
            decoder.audio.inplace_copy_from(self._models.compute_cross_kv(audio_features))
            return decoder.decode(requests)

    @property
    def default_rows(self) -> int:
        """Rows that share the weights' reads, up to 64, if memory takes twice as many windows."""
        return next(n for n in _ROWS if n == 1 or self._graphs.budget.fits(2 * n))

    def row_decoder(self, n_rows: int) -> RowDecoder:
        """Opens rows whose loop stays on the device.

        Raises:
            ImplementationFailedError: memory does not suffice for so many.
        """
        with self._lock:
            rows = self._rows
            if rows is None or rows.n_rows != n_rows or rows.is_open:
                self._graphs.budget.check_fits(n_rows)
                self._close_rows()
                self._evict_decoders(n_rows, 1)
                rows = GpuRowDecoder(self._models, n_rows, super().decode)
                self._rows = rows
            rows.open()
            return rows

    def _close_rows(self) -> None:
        """Frees the rows that are kept, unless they are in use."""
        if self._rows is not None and not self._rows.is_open:
            self._rows.release()
            self._rows = None

    def _evict_decoders(self, n_windows: int, n_group: int) -> None:
        """Closes decoders, the longest unused first, until another one fits."""
        while self._decoders:
            all_windows = n_windows + sum(decoder.n_windows for decoder in self._decoders.values())
            most_group = max(n_group, *(decoder.n_group for decoder in self._decoders.values()))
            has_memory = self._graphs.budget.fits(all_windows, most_group)
            if has_memory and len(self._decoders) < _MAX_DECODERS:
                return
            self._aligner.release()
            self._decoders.pop(next(iter(self._decoders))).close()

    def wait(self) -> None:
        """Waits until the device has finished all work."""
        self._graphs.device.synchronize()

    def close(self) -> None:
        """Frees the weights, and the decoders."""
        with self._lock:
            self._aligner.release()
            while self._decoders:
                self._decoders.popitem()[1].close()
            if self._rows is not None:
                self._rows.release()
                self._rows = None
            self._filters = None
            self._graphs.close()

    def weights(self) -> Iterator[tuple[str, FloatArray]]:
        """Yields the weights in float32, out of the layouts that the kernels read."""
        return self._graphs.weights()

    def trace_encoder(self, mel: FloatArray) -> list[FloatArray]:
        """[n_batch, n_mels, 3000] -> n_audio_layer + 1 states."""
        with self._lock:
            return self._graphs.encoder_states(mel)

    def start(self, audio_features: AudioFeatures, n_group: int) -> GpuSession:
        """Opens a session; several may be open at a time."""
        return GpuSession(self._models, own_features(audio_features), n_group)

    def align(
        self, audio_features: AudioFeatures, tokens: Sequence[int], heads: Heads
    ) -> Alignment:
        """Returns cross-attention scores of the given heads over the tokens, and logits."""
        return align(self._models, own_features(audio_features), tokens, heads)

    def align_batch(
        self, audio_features: AudioFeatures, requests: Sequence[AlignmentRequest]
    ) -> list[TokenAlignment]:
        """Aligns the texts of many windows in one graph."""
        with self._lock:
            audio = self._models.compute_cross_kv(own_features(audio_features))
            return self._aligner.align(audio, requests)

    def align_windows(
        self,
        windows: Sequence[tuple[AudioFeatures, AlignmentRequest]],
        meanwhile: Meanwhile = nothing,
    ) -> list[TokenAlignment]:
        """Aligns windows of several batches in one graph."""
        features = [own_features(each) for each, _ in windows]
        requests = [request for _, request in windows]
        with self._lock:
            if len(windows) == 1:
                audio = self._models.compute_cross_kv(features[0])
                return self._aligner.align(audio, requests, meanwhile)
            audio = self._models.new_audio(len(windows))
            for i, kv in enumerate(self._models.compute_all_cross_kv(features)):
                audio[i : i + 1, :, :].inplace_copy_from(kv)
            return self._aligner.align(audio, requests, meanwhile)

    def _idle_decoder(self, n_rows: int) -> DeviceDecoder | None:
        """Returns the smallest decoder with so many rows or more."""
        idle = [decoder for decoder in self._decoders.values() if decoder.n_rows >= n_rows]
        return min(idle, key=lambda decoder: decoder.n_rows, default=None)
