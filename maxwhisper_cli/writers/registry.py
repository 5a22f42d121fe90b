"""Output formats by name."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from maxwhisper_cli.transcription.options import OptionsError
from maxwhisper_cli.writers.ass import AssWriter
from maxwhisper_cli.writers.base import Writer
from maxwhisper_cli.writers.csv import CsvWriter
from maxwhisper_cli.writers.json import JsonWriter
from maxwhisper_cli.writers.lrc import LrcWriter
from maxwhisper_cli.writers.md import MdWriter
from maxwhisper_cli.writers.rttm import RttmWriter
from maxwhisper_cli.writers.subtitles import SrtWriter, VttWriter
from maxwhisper_cli.writers.tsv import TsvWriter
from maxwhisper_cli.writers.ttml import TtmlWriter
from maxwhisper_cli.writers.txt import TxtWriter

_UPSTREAM = (TxtWriter(), VttWriter(), SrtWriter(), TsvWriter(), JsonWriter())
_OTHERS = (LrcWriter(), AssWriter(), TtmlWriter(), CsvWriter(), MdWriter(), RttmWriter())
WRITERS: Mapping[str, Writer] = MappingProxyType({w.name: w for w in (*_UPSTREAM, *_OTHERS)})
ALL = tuple(writer.name for writer in _UPSTREAM)
"""Formats of `all`: openai-whisper's own."""


def choose_writers(formats: Iterable[str]) -> tuple[Writer, ...]:
    """Returns the writers of formats given as names, comma lists or `all`; each once, in order.

    Raises:
        OptionsError: There is no such format.
    """
    wanted: dict[str, Writer] = {}
    for name in ",".join(formats).lower().replace(" ", "").split(","):
        if name == "all":
            wanted.update((each, WRITERS[each]) for each in ALL)
        elif name in WRITERS:
            wanted[name] = WRITERS[name]
        else:
            known = ", ".join([*WRITERS, "all"])
            raise OptionsError(f"there is no output format {name!r}; choose from {known}")
    return tuple(wanted.values())
