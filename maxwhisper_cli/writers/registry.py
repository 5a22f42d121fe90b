"""Output formats by name; a format's module is imported when it is chosen."""

from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module

from maxwhisper_cli.transcription.options import OptionsError
from maxwhisper_cli.writers.base import Writer

ALL = ("txt", "vtt", "srt", "tsv", "json")
"""Formats of `all`: openai-whisper's own."""
_CLASSES = {
    "txt": "txt:TxtWriter",
    "vtt": "subtitles:VttWriter",
    "srt": "subtitles:SrtWriter",
    "tsv": "tsv:TsvWriter",
    "json": "json:JsonWriter",
    "lrc": "lrc:LrcWriter",
    "ass": "ass:AssWriter",
    "ttml": "ttml:TtmlWriter",
    "csv": "csv:CsvWriter",
    "md": "md:MdWriter",
    "rttm": "rttm:RttmWriter",
}
"""`module:Class` of each format, within this package."""


class _Writers(Mapping[str, Writer]):
    """The writer of each format."""

    def __getitem__(self, name: str) -> Writer:
        module, _, writer = _CLASSES[name].partition(":")
        made: Writer = getattr(import_module(f"{__package__}.{module}"), writer)()
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(_CLASSES)

    def __len__(self) -> int:
        return len(_CLASSES)


WRITERS: Mapping[str, Writer] = _Writers()


def choose_writers(formats: Iterable[str]) -> tuple[Writer, ...]:
    """Returns the writers of formats given as names, comma lists or `all`; each once, in order.

    Raises:
        OptionsError: There is no such format.
    """
    wanted: dict[str, Writer] = {}
    for name in ",".join(formats).lower().replace(" ", "").split(","):
        if name == "all":
            wanted.update((each, WRITERS[each]) for each in ALL)
        elif name in _CLASSES:
            wanted[name] = WRITERS[name]
        else:
            known = ", ".join([*WRITERS, "all"])
            raise OptionsError(f"there is no output format {name!r}; choose from {known}")
    return tuple(wanted.values())
