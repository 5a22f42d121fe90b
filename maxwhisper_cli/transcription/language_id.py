"""Which language is spoken, from the first token after <|startoftranscript|>.

Source: `detect_language` of whisper/decoding.py.
"""

from dataclasses import dataclass

import numpy as np

from implementations.implementation import Implementation
from implementations.session import AudioFeatures
from maxwhisper_cli.transcription.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class DetectedLanguage:
    """The likeliest language and how likely it is."""

    code: str
    probability: float


def detect_language(
    implementation: Implementation, audio_features: AudioFeatures, tokenizer: Tokenizer
) -> DetectedLanguage:
    """Detect the language of one window (a batch of one) with a multilingual model."""
    with implementation.start(audio_features, 1) as session:
        logits = session.prefill((tokenizer.sot,), (0,))[0]
    of_languages = logits[list(tokenizer.all_language_tokens)].astype(np.float64)
    likelihoods = np.exp(of_languages - of_languages.max())
    best = int(likelihoods.argmax())
    probability = float(likelihoods[best] / likelihoods.sum())
    return DetectedLanguage(tokenizer.all_language_codes[best], probability)
