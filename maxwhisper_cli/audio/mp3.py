"""MP3 files as spans: the index of their frames, and the frames that a span needs before it.

A frame's data may begin up to 511 bytes before it (the bit reservoir, ISO 11172-3, 2.4.2.7), and
its samples overlap with those of the frame before. A span is decoded from far enough back, and the
samples before it are dropped. Only files that are frames of one kind from the first byte after the
tag to the last are cut: in all others there may be something to tell, which one pass does.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Final

import numpy as np
import numpy.typing as npt

from maxwhisper_cli.audio.movie import decode_bytes
from maxwhisper_cli.audio.parts import skip_tags
from maxwhisper_cli.audio.stream import CutError, Cuttable, Float32
from maxwhisper_cli.audio.window import n_bytes_of, path_of, read_at

_SCAN_BYTES: Final = 4 * 2**20
_HEADER_BYTES: Final = 4
_RESERVOIR_BYTES: Final = 511
_CHECKSUM_BYTES: Final = 2
_N_OVERLAPPING: Final = 3
"""Frames whose samples reach into later ones, by the transform and the filter bank."""
_DECODER_DELAY: Final = 529
_LAME_TAGS: Final = (b"LAME", b"Lavf", b"Lavc")
"""Programs whose delays FFmpeg believes."""
_ID3_BYTES: Final = 128
_RATES: Final = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
"""Sample rates by version: MPEG 1, 2 and 2.5."""
_KILOBITS: Final = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
}
"""Bit rates of layer III, in MPEG 1 and later; 0 is not allowed."""

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Kind:
    """Facts that all frames of a file share, by the header of one of them."""

    header: bytes

    @property
    def is_valid(self) -> bool:
        """True if it is a header of layer III."""
        first, second, third = self.header[:3]
        version, layer = second >> 3 & 3, second >> 1 & 3
        return first == 0xFF and second >= 0xE0 and version != 1 and layer == 1 and third & 12 != 12

    @property
    def is_mpeg_1(self) -> bool:
        return self.header[1] >> 3 & 3 == 3

    @property
    def sample_rate(self) -> int:
        return _RATES[self.header[1] >> 3 & 3][self.header[2] >> 2 & 3]

    @property
    def n_channels(self) -> int:
        return 1 if self.header[3] >> 6 == 3 else 2

    @property
    def frame_samples(self) -> int:
        return 1152 if self.is_mpeg_1 else 576

    @property
    def side_bytes(self) -> int:
        """Bytes of header and side information."""
        is_mono = self.n_channels == 1
        if self.is_mpeg_1:
            return _HEADER_BYTES + (17 if is_mono else 32)
        return _HEADER_BYTES + (9 if is_mono else 17)

    def sizes(self, third_bytes: npt.NDArray[np.uint8]) -> Int64:
        """Returns the bytes of frames, by the third byte of their headers; 0 if invalid."""
        kilobits = np.array(_KILOBITS[self.is_mpeg_1], np.int64)
        units = 125 * self.frame_samples * kilobits // self.sample_rate
        table = np.repeat(units, 16)  # the upper half of a byte is the bit rate
        table += (np.arange(256) >> 1 & 1) * (table > 0)
        return table[third_bytes]

    def candidates(self, data: npt.NDArray[np.uint8]) -> Int64:
        """Returns where such headers may begin in `data`."""
        ends = _HEADER_BYTES - 1
        at = np.flatnonzero(data[:-ends] == 0xFF)
        for offset, mask in ((1, 0xFE), (2, 0x0C)):  # any checksum, any bit rate
            at = at[(data[at + offset] & mask) == (self.header[offset] & mask)]
        is_mono = data[at + 3] >> 6 == 3
        return at[is_mono == (self.n_channels == 1)]


@dataclass(frozen=True, slots=True)
class _Delays:
    """Samples at both ends that are not sound, as a tag in the first frame says."""

    n_header_frames: int = 0
    """Number of frames without sound: 1 if there is a tag."""
    n_skipped: int = 0
    """Samples to drop at the start."""
    n_padded: int = 0
    """Samples to drop at the end."""


@dataclass(frozen=True, slots=True)
class _Mp3:
    """An MP3 file with the positions of its frames."""

    path: str
    kind: _Kind
    bounds: Int64
    """Start of each frame with sound, and the end of the last."""
    delays: _Delays

    @property
    def n_samples(self) -> int:
        n_decoded = (len(self.bounds) - 1) * self.kind.frame_samples
        return n_decoded - self.delays.n_skipped - self.delays.n_padded

    def read(self, start: int, end: int) -> Iterator[Float32]:
        """Yields the samples from `start` to before `end`; as `Cuttable.read`."""
        frame_samples, n_skipped = self.kind.frame_samples, self.delays.n_skipped
        first = (start + n_skipped) // frame_samples
        last = min(-(-(end + n_skipped) // frame_samples), len(self.bounds) - 1)
        begin = self._before(first)
        is_head = begin == 0
        n_dropped = start if is_head else start + n_skipped - begin * frame_samples
        n_expected = (last - begin) * frame_samples - (n_skipped if is_head else 0)
        if is_head and last == len(self.bounds) - 1:  # FFmpeg knows the tag, and drops the padding
            n_expected = self.n_samples
        n_wanted = end - start
        for block in decode_bytes(
            self.path,
            0 if is_head else int(self.bounds[begin]),
            int(self.bounds[last]),
            "mp3",
            sample_rate=self.kind.sample_rate,
            n_channels=self.kind.n_channels,
        ):
            n_expected -= len(block)
            wanted = block[n_dropped : n_dropped + n_wanted]
            n_dropped = max(0, n_dropped - len(block))
            n_wanted -= len(wanted)
            if len(wanted):
                yield wanted
        if n_expected or n_wanted:
            raise CutError

    def _before(self, frame: int) -> int:
        """Returns the frame at which decoding has to begin, so that `frame` is right."""
        n_bytes, n_frames = 0, 0
        while frame > 0 and (n_bytes < _RESERVOIR_BYTES or n_frames < _N_OVERLAPPING):
            frame -= 1
            size = int(self.bounds[frame + 1] - self.bounds[frame])
            n_bytes += max(0, size - self.kind.side_bytes - _CHECKSUM_BYTES)
            n_frames += n_bytes >= _RESERVOIR_BYTES
        return frame


def cut_mp3(file: IO[bytes]) -> Cuttable | None:
    """Returns an MP3 file as one that can be read in spans; None if anything in it is unusual.

    Args:
        file: Any file; its position moves.
    """
    path = path_of(file)
    begin = skip_tags(file, 0)
    kind = _Kind(read_at(file, begin, _HEADER_BYTES))
    if path is None or len(kind.header) < _HEADER_BYTES or not kind.is_valid:
        return None
    bounds = _frame_bounds(file, begin, kind)
    if bounds is None:
        return None
    delays = _read_delays(read_at(file, begin, int(bounds[1]) - begin), kind, len(bounds) - 1)
    if delays is None:
        return None
    mp3 = _Mp3(path, kind, bounds[delays.n_header_frames :], delays)
    return Cuttable(mp3.n_samples, mp3.read)


def _frame_bounds(file: IO[bytes], begin: int, kind: _Kind) -> Int64 | None:
    """Returns the start of each frame and the end of the last; None if there is a gap."""
    end = n_bytes_of(file)
    if read_at(file, max(0, end - _ID3_BYTES), 3) == b"TAG":
        end -= _ID3_BYTES
    starts, sizes = _candidates(file, begin, end, kind)
    while len(starts):  # those inside frames are reached from none, or from such
        ends = starts + sizes
        reached = np.zeros(len(starts), bool)
        following = np.minimum(np.searchsorted(starts, ends), len(starts) - 1)
        reached[following[starts[following] == ends]] = True
        reached[0] = True
        if reached.all():
            break
        starts, sizes = starts[reached], sizes[reached]
    bounds = np.append(starts, end)
    if len(starts) == 0 or starts[0] != begin or (starts + sizes != bounds[1:]).any():
        return None
    return bounds


def _candidates(file: IO[bytes], begin: int, end: int, kind: _Kind) -> tuple[Int64, Int64]:
    """Returns the positions of all valid headers, and the sizes of their frames."""
    starts, sizes = [], []
    for position in range(begin, end, _SCAN_BYTES):
        n_bytes = min(_SCAN_BYTES + _HEADER_BYTES - 1, end - position)
        data = np.frombuffer(read_at(file, position, n_bytes), np.uint8)
        if len(data) < _HEADER_BYTES:
            continue
        at = kind.candidates(data)
        size = kind.sizes(data[at + 2])
        starts.append(at[size > 0] + position)
        sizes.append(size[size > 0])
    empty = np.empty(0, np.int64)
    return np.concatenate([empty, *starts]), np.concatenate([empty, *sizes])


def _read_delays(frame: bytes, kind: _Kind, n_frames: int) -> _Delays | None:
    """Reads the tag in the first frame, as FFmpeg does; None if it is wrong or another one."""
    if b"VBRI" in frame[:64]:
        return None
    at = kind.side_bytes
    if frame[at : at + 4] not in {b"Xing", b"Info"}:
        return _Delays()
    flags = int.from_bytes(frame[at + 4 : at + 8], "big")
    if not flags & 1 or int.from_bytes(frame[at + 8 : at + 12], "big") != n_frames - 1:
        return None
    at += 12 + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
    if frame[at : at + 4] not in _LAME_TAGS:
        return _Delays(n_header_frames=1)
    delays = int.from_bytes(frame[at + 21 : at + 24], "big")
    n_padded = max(0, (delays & 0xFFF) - _DECODER_DELAY)
    return _Delays(1, (delays >> 12) + _DECODER_DELAY, n_padded)
