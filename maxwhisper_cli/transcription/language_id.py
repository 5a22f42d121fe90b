"""Language detection, from the first token after <|startoftranscript|>.

Source: `detect_language` of whisper/decoding.py.
"""

from dataclasses import dataclass

import numpy as np

from implementations.implementation import Implementation
from implementations.session import AudioFeatures
from maxwhisper_cli.transcription.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class DetectedLanguage:
    """Most probable language, with its probability among all languages."""

    code: str
    probability: float


def detect_language(
    implementation: Implementation, audio_features: AudioFeatures, tokenizer: Tokenizer
) -> DetectedLanguage:
    """Detects the language of one window (a batch of one) with a multilingual model."""
    with implementation.start(audio_features, 1) as session:
        logits = session.prefill((tokenizer.sot,), (0,))[0]
    language_logits = logits[list(tokenizer.all_language_tokens)].astype(np.float64)
    exponentials = np.exp(language_logits - language_logits.max())
    best = int(exponentials.argmax())
    probability = float(exponentials[best] / exponentials.sum())
    return DetectedLanguage(tokenizer.all_language_codes[best], probability)
