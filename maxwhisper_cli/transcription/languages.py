"""Languages by code, name and alias, as openai-whisper lists them.

The tables are openai-whisper's own, read from the installed package; this module converts a user's
input into a code. A model's vocabulary has 99 codes, 100 from large-v3 on, or none if it is
English-only.
"""

from difflib import get_close_matches

from maxwhisper_cli.transcription.upstream import tokenizer_module
from weights.errors import MaxWhisperError


class LanguageError(MaxWhisperError):
    """A language is unknown to Whisper, or to the chosen model."""


def language_names(n_languages: int = 100) -> dict[str, str]:
    """Returns `{"en": "english", ...}` for the first `n_languages` codes, in vocabulary order."""
    return dict(list(tokenizer_module().LANGUAGES.items())[:n_languages])


def language_aliases() -> dict[str, str]:
    """Returns the code of every name and alias: `{"spanish": "es", "castilian": "es"}`."""
    return dict(tokenizer_module().TO_LANGUAGE_CODE)


def parse_language(text: str, n_languages: int = 100) -> str:
    """Returns the code for a language given as code, name or alias, in any case.

    Args:
        text: `"es"`, `"Spanish"` or `"castilian"`.
        n_languages: Languages in the model's vocabulary (`ModelDimensions.n_languages`).

    Raises:
        LanguageError: The language is unknown to Whisper (the message has the nearest name), or to
            this model.
    """
    name = " ".join(text.lower().split())
    names, aliases = language_names(), language_aliases()
    code = name if name in names else aliases.get(name)
    if code is None:
        nearest = get_close_matches(name, [*aliases, *names], n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else "give a code such as 'es' or a name"
        raise LanguageError(f"Whisper knows no language {text!r}: {hint}")
    if code not in language_names(n_languages):
        raise LanguageError(
            f"this model does not know {names[code]} ({code}): "
            f"of Whisper's {len(names)} languages it has {n_languages}; choose a newer model"
        )
    return code
