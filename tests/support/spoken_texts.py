"""Texts of real speech to be aligned with its windows, as the reference decodes them."""

from collections.abc import Sequence

import numpy as np

from implementations.alignment import AlignmentRequest
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from maxwhisper_cli.transcription.window_request import RequestBuilder
from tests.support import loaded

TOKENIZER = get_tokenizer(False)


def spoken_requests(mel: np.ndarray, n_positions: Sequence[int]) -> list[AlignmentRequest]:
    """The text of each window, [n_batch, 80, 3000], as tiny.en on `cpu` decodes it."""
    reference = loaded.model("tiny.en", "cpu").implementation
    builder = RequestBuilder.create(reference.dims, TranscribeOptions(beam_size=None), TOKENIZER)
    request = builder.build([], 0.0, (0, 0, 0))
    decoded = reference.decode_batch(reference.encode(mel), [request] * len(mel))
    return [
        AlignmentRequest(
            tuple(TOKENIZER.sot_sequence),
            TOKENIZER.no_timestamps,
            tuple(token for token in window.tokens if token < TOKENIZER.eot),
            TOKENIZER.eot,
            n,
            loaded.checkpoint("tiny.en").alignment_heads,
        )
        for window, n in zip(decoded, n_positions, strict=True)
    ]
