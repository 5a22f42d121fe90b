"""Openai-whisper's text normalizers, loaded without importing torch.

Differences of spelling, numbers, punctuation and capitals are no errors. Nothing is counted here.

Source: section 4.4 and appendix C of arXiv:2212.04356.
"""

from collections.abc import Callable
from functools import cache

from maxwhisper_cli.transcription.upstream import whisper_module

Normalizer = Callable[[str], str]

WITHOUT_SPACES = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Languages written without spaces: their error rates are of characters (appendix C)."""


@cache
def normalizer_for(language: str) -> Normalizer:
    """Returns the English normalizer, or the basic one for any other language."""
    module = whisper_module("normalizers")
    normalize: Normalizer = (
        module.EnglishTextNormalizer()
        if language == "en"
        else module.BasicTextNormalizer(split_letters=language in WITHOUT_SPACES)
    )
    return lambda text: normalize(text).strip()
