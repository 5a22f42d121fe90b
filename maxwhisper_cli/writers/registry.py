"""Output formats by name."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from maxwhisper_cli.transcription.options import OptionsError
from maxwhisper_cli.writers.base import Writer
from maxwhisper_cli.writers.json import JsonWriter
from maxwhisper_cli.writers.rttm import RttmWriter
from maxwhisper_cli.writers.subtitles import SrtWriter, VttWriter
from maxwhisper_cli.writers.tsv import TsvWriter
from maxwhisper_cli.writers.txt import TxtWriter

_ALL = (TxtWriter(), VttWriter(), SrtWriter(), TsvWriter(), JsonWriter())
"""Formats of openai-whisper, which `all` stands for."""
WRITERS: Mapping[str, Writer] = MappingProxyType({w.name: w for w in (*_ALL, RttmWriter())})


def choose_writers(formats: Iterable[str]) -> tuple[Writer, ...]:
    """Returns the writers of formats given as names, comma lists or `all`; each once, in order.

    Raises:
        OptionsError: There is no such format.
    """
    wanted: dict[str, Writer] = {}
    for name in ",".join(formats).lower().replace(" ", "").split(","):
        if name == "all":
            wanted.update({writer.name: writer for writer in _ALL})
        elif name in WRITERS:
            wanted[name] = WRITERS[name]
        else:
            known = ", ".join([*WRITERS, "all"])
            raise OptionsError(f"there is no output format {name!r}; choose from {known}")
    return tuple(wanted.values())
