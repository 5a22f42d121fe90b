"""Rows of several windows in PyTorch: dense layers are of all rows at once.

Each window keeps its session's caches; attention goes window by window, since texts differ in
length. Tokens are chosen by the generic searches on the host.
"""

import time
from collections.abc import Sequence

import numpy as np
import torch

from implementations.decoding.loop import WindowDecoding
from implementations.decoding.rows import LockStepRowDecoder
from implementations.errors import NonFiniteLogitsError
from implementations.row_decoder import RowWindow
from implementations.session import AudioFeatures, FloatArray
from implementations.torch_decoder.decoder import TextDecoder
from implementations.torch_decoder.session import DecoderAudioFeatures, TorchDecoderSession
from implementations.torch_tensors import TorchAudioFeatures


class TorchRowDecoder(LockStepRowDecoder):
    """Windows whose hypotheses share each step of the decoder."""

    def __init__(self, decoder: TextDecoder, n_rows: int) -> None:
        super().__init__(n_rows)
        self._decoder = decoder

    def open(self, window: RowWindow) -> TorchDecoderSession:
        """Opens a session with a cache of its own."""
        features = _with_cross_kv(window.audio_features)
        return TorchDecoderSession(self._decoder, features, window.request.search.n_group)

    def step(self, windows: Sequence[WindowDecoding]) -> None:
        """Feeds all hypotheses; a window without numbers fails alone."""
        began = time.perf_counter()
        logits = self._logits(windows)
        seconds = (time.perf_counter() - began) / len(windows)
        first = 0
        for window in windows:
            search = window.search
            rows = logits[first : first + len(search.sampled)]
            first += len(rows)
            before = time.perf_counter()
            try:
                sources = search.advance(rows, window.book.apply(rows, search.sampled))
            except NonFiniteLogitsError as error:
                window.error = error
            else:
                window.take(sources, seconds + time.perf_counter() - before)

    @torch.inference_mode()
    def _logits(self, windows: Sequence[WindowDecoding]) -> FloatArray:
        """Feeds each hypothesis its latest token -> logits [n_rows, n_vocab]."""
        device = self._decoder.positional_embedding.device
        tokens: list[int] = []
        positions: list[int] = []
        rows = []
        for window in windows:
            window.reorder()
            session, sampled = window.session, window.search.sampled
            assert isinstance(session, TorchDecoderSession)
            rows.append(session.rows(len(tokens), len(sampled)))
            tokens += [text[-1] for text in sampled]
            positions += [session.n_filled] * len(sampled)
        fed, at = torch.tensor([tokens, positions], device=device)
        logits = self._decoder.logits(self._decoder.step_rows(fed, at, rows))
        return np.require(logits.cpu().numpy(), requirements="W")


def _with_cross_kv(audio_features: AudioFeatures) -> DecoderAudioFeatures:
    """Returns features that keep cross-attention's keys and values, once computed."""
    if isinstance(audio_features, DecoderAudioFeatures):
        return audio_features
    assert isinstance(audio_features, TorchAudioFeatures), "features of another implementation"
    return DecoderAudioFeatures(audio_features.tensor)
