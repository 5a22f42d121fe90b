"""Parsing of option values that several commands share."""

from implementations import registry
from maxwhisper_cli.transcription.options import OptionsError


def parse_device(text: str | None) -> str | None:
    """Returns a device's name, `cpu`, `cuda` or `cuda:N`; None, for the default, passes through.

    Raises:
        OptionsError: The name is no device.
    """
    if text is not None and registry.device_kind(text) is None:
        raise OptionsError(f"--device is cpu, cuda or cuda:1, not {text!r}")
    return text
