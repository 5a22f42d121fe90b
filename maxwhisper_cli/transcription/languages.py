"""Languages by code, name and alias, as openai-whisper lists them.

The tables are openai-whisper's own, read from the installed package; this module converts a user's
input into a code. A model's vocabulary has 99 codes, 100 from large-v3 on, or none if it is
English-only.
"""

import re
from difflib import get_close_matches

from maxwhisper_cli.transcription.language_codes import EXTENDED_TAGS, HINTS, ISO_CODES
from maxwhisper_cli.transcription.option_types import OptionsError
from maxwhisper_cli.transcription.upstream import tokenizer_module

_MIN_LETTERS_TO_COMPARE = 5
"""Smallest length of a word that is compared with names."""
_MIN_LIKENESS = 0.75
_TAG = re.compile(r"(?P<language>[a-z]{2,3})(?P<rest>(?:-[a-z0-9]{1,8})+)(?:[.@].*)?")
"""A language with region, script or variant, as `en-us`, `zh-hant-tw` or `pt-br.utf-8`."""


class LanguageError(OptionsError):
    """A language is unknown to Whisper, or to the chosen model."""


def language_names(n_languages: int = 100) -> dict[str, str]:
    """Returns `{"en": "english", ...}` for the first `n_languages` codes, in vocabulary order."""
    return dict(list(tokenizer_module().LANGUAGES.items())[:n_languages])


def language_aliases() -> dict[str, str]:
    """Returns the code of every name and alias: `{"spanish": "es", "castilian": "es"}`."""
    return dict(tokenizer_module().TO_LANGUAGE_CODE)


def parse_language(text: str, n_languages: int = 100) -> str:
    """Returns Whisper's code for a language given as code, tag, name or alias, in any case.

    Args:
        text: `"es"`, `"Spanish"`, `"castilian"`, `"spa"`, `"es-MX"` or `"es_MX"`.
        n_languages: Number of languages in the model's vocabulary (`ModelDimensions.n_languages`).

    Raises:
        LanguageError: The language is unknown to Whisper (the message has the nearest one), or to
            this model.
    """
    wanted = " ".join(text.lower().split())
    names = language_names()
    code = _code_of(wanted)
    if code is None:
        raise LanguageError(f"Whisper knows no language {text!r}: {_hint(wanted)}")
    if code not in language_names(n_languages):
        raise LanguageError(
            f"this model does not know {names[code]} ({code}): "
            f"of Whisper's {len(names)} languages it has {n_languages}; choose a newer model"
        )
    return code


def _code_of(wanted: str) -> str | None:
    """Returns the code of a language in lower case; None if it is unknown."""
    names = language_names()
    if wanted in names:
        return wanted
    code = language_aliases().get(wanted) or ISO_CODES.get(wanted)
    tag = _TAG.fullmatch(wanted.replace("_", "-"))
    if code is not None or tag is None:
        return code
    extended = EXTENDED_TAGS.get("-".join(tag[0].split("-")[:2]))
    return extended or _code_of(tag["language"])


def _hint(wanted: str) -> str:
    """Returns the advice on an unknown language."""
    names, aliases = language_names(), language_aliases()
    meant = HINTS.get(wanted)
    if meant == "auto":
        return "did you mean 'auto', which detects it?"
    if meant is not None:
        return f"did you mean {names[meant]!r} ({meant})?"
    nearest: list[str] = []
    if len(wanted) >= _MIN_LETTERS_TO_COMPARE:
        nearest = get_close_matches(wanted, aliases, n=1, cutoff=_MIN_LIKENESS)
    return f"did you mean {nearest[0]!r}?" if nearest else "give a code such as 'es' or a name"
