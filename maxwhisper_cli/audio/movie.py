"""Decoding by FFmpeg's filter `amovie`, which hands out seconds of sound in one call.

PyAV's own loop goes back to Python for each packet and frame, some 40 times a second of sound, and
takes the interpreter's lock each time: two threads are hardly faster than one, and sixteen are
thirty times slower. Here the lock is free while FFmpeg opens, reads and decodes. The samples are
the same, bit by bit; damage is left out silently, so that the caller has to count them.
"""

from collections.abc import Iterator
from typing import Final

import av
from av.audio.frame import AudioFrame
from av.filter.context import FilterContext

from maxwhisper_cli.audio.convert import Unpacker
from maxwhisper_cli.audio.stream import CutError, Float32

_BLOCK_SAMPLES: Final = 65536
_OPTIONS: Final = "protocol_whitelist=subfile,file"
"""Protocols of a file, so that what is opened cannot name an address."""


def decode_bytes(
    path: str, start: int, end: int, kind: str, *, sample_rate: int, n_channels: int
) -> Iterator[Float32]:
    """Yields the samples in a part of a file, `[n_samples, n_channels]` each.

    Args:
        path: Path of the file.
        start: First byte.
        end: The byte after the last one.
        kind: FFmpeg's name of the format.
        sample_rate: Rate of all samples.
        n_channels: Channels of all samples.

    Raises:
        CutError: Nothing can be decoded, or it has another rate or other channels.
    """
    unpacker = Unpacker()
    try:
        graph, sink = _open(f"subfile,,start,{start},end,{end},,:file:{path}", kind)
        while (frame := _pull(sink)) is not None:
            if frame.sample_rate != sample_rate or frame.layout.nb_channels != n_channels:
                raise CutError
            yield unpacker.to_float32(frame)
        del graph  # the sink holds no reference to it
    except (av.FFmpegError, ValueError, OSError) as error:
        raise CutError from error


def _open(address: str, kind: str) -> tuple[av.filter.Graph, FilterContext]:
    graph = av.filter.Graph()
    movie = graph.add("amovie", filename=address, format_name=kind, format_opts=_OPTIONS)
    joined = graph.add("asetnsamples", nb_out_samples=str(_BLOCK_SAMPLES), pad="0")
    sink = graph.add("abuffersink")
    movie.link_to(joined)
    joined.link_to(sink)
    graph.configure()
    return graph, sink


def _pull(sink: FilterContext) -> AudioFrame | None:
    """Returns the next frame; None at the end."""
    try:
        frame = sink.pull()
    except (av.EOFError, av.BlockingIOError):
        return None
    return frame if isinstance(frame, AudioFrame) else None
