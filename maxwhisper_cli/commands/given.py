"""What several commands read out of the text that was given for an option."""

from implementations import registry
from maxwhisper_cli.transcription.options import OptionsError


def language_code(text: str | None) -> str | None:
    """The code of a language given as code or name; None, for detection, passes through.

    Raises:
        OptionsError: Whisper does not know the language.
    """
    if text is None:
        return None
    from maxwhisper_cli.transcription.languages import LanguageError, parse_language

    try:
        return parse_language(text)
    except LanguageError as error:
        raise OptionsError(str(error)) from error


def implementation_names(text: str) -> list[str]:
    """The implementations of `--impl a,b`, each once.

    Raises:
        OptionsError: there is none, or one that does not exist.
    """
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in registry.names():
            raise OptionsError(f"--impl: {name!r} is none of {', '.join(registry.names())}")
    if not names:
        raise OptionsError(f"--impl takes some of {', '.join(registry.names())}")
    return names
