"""Maxwhisper: OpenAI's Whisper through interchangeable implementations.

The Python API in one import; its parts are loaded on first use, so importing this costs nothing.
"""

TYPE_CHECKING = False  # `typing` itself costs as much as all that Python loads at its start
if TYPE_CHECKING:
    from typing import Any

    from maxwhisper_cli.captions.captions import CaptionOptions
    from maxwhisper_cli.model import Model, load
    from maxwhisper_cli.throughput.several import Finished
    from maxwhisper_cli.transcription.options import TranscribeOptions, VadOptions
    from maxwhisper_cli.transcription.segments import Progress, Segment, Transcript
    from maxwhisper_cli.writers.render import render, to_dict, to_rows
    from weights.errors import MaxWhisperError

__all__ = [
    "CaptionOptions",
    "Finished",
    "MaxWhisperError",
    "Model",
    "Progress",
    "Segment",
    "TranscribeOptions",
    "Transcript",
    "VadOptions",
    "load",
    "render",
    "to_dict",
    "to_rows",
]

_MODULES = {
    "CaptionOptions": "maxwhisper_cli.captions.captions",
    "Finished": "maxwhisper_cli.throughput.several",
    "MaxWhisperError": "weights.errors",
    "Model": "maxwhisper_cli.model",
    "Progress": "maxwhisper_cli.transcription.segments",
    "Segment": "maxwhisper_cli.transcription.segments",
    "TranscribeOptions": "maxwhisper_cli.transcription.options",
    "Transcript": "maxwhisper_cli.transcription.segments",
    "VadOptions": "maxwhisper_cli.transcription.options",
    "load": "maxwhisper_cli.model",
    "render": "maxwhisper_cli.writers.render",
    "to_dict": "maxwhisper_cli.writers.render",
    "to_rows": "maxwhisper_cli.writers.render",
}


def __getattr__(name: str) -> "Any":  # noqa: ANN401  (types are given above, for type checkers)
    """Imports a public name from its module on first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
