"""What several commands read out of the text that was given for an option."""

from implementations import registry
from maxwhisper_cli.transcription.options import OptionsError


def language_code(text: str | None) -> str | None:
    """Returns the code of a language given as code or name; None, for detection, passes through.

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


def known_device(text: str | None) -> str | None:
    """Returns a device's name, `cpu`, `cuda` or `cuda:N`; None, for the default, passes through.

    Raises:
        OptionsError: no device is called so.
    """
    if text is not None and registry.device_kind(text) is None:
        raise OptionsError(f"--device is cpu, cuda or cuda:1, not {text!r}")
    return text
