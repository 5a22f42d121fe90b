"""Language detection, from the first token after <|startoftranscript|>, in one window or several.

Source: `detect_language` of whisper/decoding.py.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from implementations.implementation import Implementation
from implementations.session import AudioFeatures
from maxwhisper_cli.transcription.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class DetectedLanguage:
    """Most probable language, with its probability among all languages."""

    code: str
    probability: float


def detect_language(
    implementation: Implementation,
    windows: Iterable[AudioFeatures],
    tokenizer: Tokenizer,
    allowed: Sequence[str] | None = None,
) -> DetectedLanguage:
    """Detects the language of one or more windows with a multilingual model.

    Args:
        implementation: The model.
        windows: Encoder output of each window, a batch of one.
        tokenizer: Tokenizer of the model.
        allowed: Codes of languages to choose from; None is all.

    Returns:
        Language of the highest mean probability.
    """
    codes = tokenizer.all_language_codes
    probabilities = np.mean(
        [_probabilities(implementation, features, tokenizer) for features in windows], axis=0
    )
    chosen = [i for i, code in enumerate(codes) if allowed is None or code in allowed]
    best = max(chosen or range(len(codes)), key=lambda i: probabilities[i])
    return DetectedLanguage(codes[best], float(probabilities[best]))


def _probabilities(
    implementation: Implementation, features: AudioFeatures, tokenizer: Tokenizer
) -> npt.NDArray[np.float64]:
    """Returns the probability of each language in one window, `[n_languages]`."""
    with implementation.start(features, 1) as session:
        logits = session.prefill((tokenizer.sot,), (0,))[0]
    language_logits = logits[list(tokenizer.all_language_tokens)].astype(np.float64)
    exponentials: npt.NDArray[np.float64] = np.exp(language_logits - language_logits.max())
    return exponentials / exponentials.sum()
