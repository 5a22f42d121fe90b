"""Languages by code, name and alias, as openai-whisper lists them.

The tables are openai-whisper's own, read from the installed package; this module turns what a
person writes into a code. Which codes a model knows is up to its vocabulary: 99, or 100 from
large-v3 on, none for an English-only one.
"""

from difflib import get_close_matches

from maxwhisper_cli.transcription.upstream import tokenizer_module
from weights.errors import MaxWhisperError


class LanguageError(MaxWhisperError):
    """A language that Whisper, or the chosen model, does not know."""


def language_names(n_languages: int = 100) -> dict[str, str]:
    """`{"en": "english", ...}` for the first `n_languages` codes, in vocabulary order."""
    return dict(list(tokenizer_module().LANGUAGES.items())[:n_languages])


def language_aliases() -> dict[str, str]:
    """Every name and alias in lower case with its code: `{"spanish": "es", "castilian": "es"}`."""
    return dict(tokenizer_module().TO_LANGUAGE_CODE)


def parse_language(text: str, n_languages: int = 100) -> str:
    """Return the code for a language given as code, name or alias, in any case.

    Args:
        text: `"es"`, `"Spanish"` or `"castilian"`.
        n_languages: How many languages the model knows (`ModelDimensions.n_languages`).

    Raises:
        LanguageError: Whisper does not know it (with the nearest name), or this model does not.
    """
    wanted = " ".join(text.lower().split())
    names, aliases = language_names(), language_aliases()
    code = wanted if wanted in names else aliases.get(wanted)
    if code is None:
        near = get_close_matches(wanted, [*aliases, *names], n=1)
        hint = f"did you mean {near[0]!r}?" if near else "give a code such as 'es' or a name."
        raise LanguageError(f"Whisper knows no language {text!r}: {hint}")
    if code not in language_names(n_languages):
        raise LanguageError(
            f"This model does not know {names[code]} ({code}): "
            f"of Whisper's {len(names)} languages it has {n_languages}; choose a newer model."
        )
    return code
