"""Sizes that define a Whisper model, and those of its spectrogram, which all models share."""

from dataclasses import dataclass
from typing import Final

N_FFT: Final = 400
"""Samples of a spectrogram frame: 25 ms at 16 kHz."""
HOP_LENGTH: Final = 160
"""Samples from one frame to the next: 10 ms at 16 kHz."""


@dataclass(frozen=True, slots=True)
class ModelDimensions:
    """Sizes of a Whisper model, named as in openai-whisper's `ModelDimensions`."""

    n_mels: int
    """Mel bands of the spectrogram: 80, or 128 from large-v3 on."""
    n_audio_ctx: int
    """Encoder positions: 1500, one for each 20 ms of a 30 s window."""
    n_audio_state: int
    """Width of the encoder."""
    n_audio_head: int
    n_audio_layer: int
    n_vocab: int
    """Token count: 51864 English-only, 51865 multilingual, 51866 from large-v3 on."""
    n_text_ctx: int
    """Decoder positions: 448, prompt included."""
    n_text_state: int
    """Width of the decoder."""
    n_text_head: int
    n_text_layer: int

    @property
    def is_multilingual(self) -> bool:
        """True if the vocabulary has language tokens (source: whisper/model.py)."""
        return self.n_vocab >= 51865

    @property
    def n_languages(self) -> int:
        """Number of language tokens in the vocabulary: 99, or 100 from large-v3 on."""
        return self.n_vocab - 51765 - int(self.is_multilingual)
