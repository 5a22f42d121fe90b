"""Made-up sound: tones, and files in formats that only FFmpeg's libraries write."""

from pathlib import Path
from typing import Any

import av
import numpy as np


def tone(frequency: float, seconds: float, rate: int) -> np.ndarray:
    """Returns a sine wave, `[n_samples]` float32."""
    times = np.arange(int(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * frequency * times)).astype(np.float32)


def encode(path: Path, container: str, codec: str | None, *, video: bool = False) -> Path:
    """Writes 3 s of 440 Hz on the left, softer 880 Hz on the right; black video if asked."""
    rate = {"libopus": 48000, "g722": 16000}.get(codec or "", 44100)
    with av.open(str(path), "w", format=container) as output:
        picture = output.add_stream("mpeg4", rate=10) if video else None
        mono = codec == "g722"
        sound = output.add_stream(codec, rate=rate) if codec else None
        assert sound is None or isinstance(sound, av.AudioStream)
        if sound is not None:
            sound.layout = "mono" if mono else "stereo"
            sound.bit_rate = 128000
        if picture is not None:
            picture.width = picture.height = 64
            picture.pix_fmt = "yuv420p"
            for index in range(30):
                image = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
                image.pts = index
                output.mux(picture.encode(image))
            output.mux(picture.encode(None))
        if sound is not None:
            left, right = tone(440, 3.0, rate), 0.5 * tone(880, 3.0, rate)
            samples = (left * 32767).astype(np.int16)[None] if mono else np.stack([left, right])
            frame = av.AudioFrame.from_ndarray(
                samples, format="s16" if mono else "fltp", layout="mono" if mono else "stereo"
            )
            frame.sample_rate = rate
            frame.pts = 0
            output.mux(sound.encode(frame))
            output.mux(sound.encode(None))
    return path


def write_track(
    path: Path,
    container: str,
    codec: str,
    samples: np.ndarray,
    *,
    rate: int = 16000,
    bit_rate: int = 64000,
    options: dict[str, str] | None = None,
) -> None:
    """Writes mono floats as one track."""
    with av.open(str(path), "w", format=container, options=options or {}) as output:
        stream = output.add_stream(codec, rate=rate)
        assert isinstance(stream, av.AudioStream)
        stream.layout, stream.bit_rate = "mono", bit_rate
        _encode(output, stream, samples, rate)


def write_tracks(
    path: Path,
    container: str,
    tracks: list[np.ndarray],
    *,
    codec: str = "aac",
    begins: float = 0.0,
    gap: tuple[float, float] | None = None,
    video_seconds: float = 0.0,
    languages: list[str] | None = None,
    default: int = 0,
    options: dict[str, str] | None = None,
) -> None:
    """Writes mono floats at 16 kHz as AAC tracks, beside black video if it has a length.

    Args:
        path: The file to write.
        container: FFmpeg's name of its format.
        tracks: Samples of each track.
        codec: FFmpeg's name of the coding.
        begins: Seconds before all tracks.
        gap: When a gap begins in the sound, and how long it lasts.
        video_seconds: Length of the video; without one there is none.
        languages: Three-letter code of each track.
        default: Which track is the default.
        options: For FFmpeg's writer.
    """
    rate = 16000
    with av.open(str(path), "w", format=container, options=options or {}) as output:
        packets = _video_packets(output, container, video_seconds) if video_seconds else []
        streams = []
        for number, _ in enumerate(tracks):
            stream = output.add_stream(codec, rate=rate)
            assert isinstance(stream, av.AudioStream)
            stream.layout = "mono"
            stream.disposition = av.stream.Disposition(int(number == default))
            if languages:
                stream.metadata["language"] = languages[number]
            streams.append(stream)
        for stream, samples in zip(streams, tracks, strict=True):
            for packet in [*stream.encode(_frame(samples, rate)), *stream.encode(None)]:
                packets.append(_later(packet, begins, gap))
        packets.sort(key=lambda packet: float((packet.dts or 0) * packet.time_base))
        for packet in packets:
            output.mux(packet)


def _video_packets(
    output: av.container.OutputContainer, container: str, seconds: float
) -> list[Any]:
    """Encodes black pictures, ten in each second."""
    stream = output.add_stream("flv" if container == "flv" else "mpeg4", rate=10)
    stream.width = stream.height = 64
    stream.pix_fmt = "yuv420p"
    packets: list[Any] = []
    for index in range(int(seconds * 10)):
        image = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        image.pts = index
        packets += stream.encode(image)
    return packets + stream.encode(None)


def _later(packet: Any, begins: float, gap: tuple[float, float] | None) -> Any:
    """Moves a packet behind the beginning, and behind the gap if that comes before it."""
    is_behind = gap is not None and float(packet.pts * packet.time_base) >= gap[0]
    seconds = begins + (gap[1] if gap and is_behind else 0.0)
    packet.pts += round(seconds / packet.time_base)
    packet.dts = packet.pts
    return packet


def _frame(samples: np.ndarray, rate: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(
        samples.astype(np.float32)[None], format="fltp", layout="mono"
    )
    frame.sample_rate = rate
    frame.pts = 0
    return frame


def _encode(
    output: av.container.OutputContainer, stream: av.AudioStream, samples: np.ndarray, rate: int
) -> None:
    """Encodes floats, in whatever kind of sample the codec takes."""
    kind = stream.codec_context.format.name
    resampler = av.AudioResampler(kind, "mono", rate)
    for frame in resampler.resample(_frame(samples, rate)):
        output.mux(stream.encode(frame))
    for frame in resampler.resample(None):
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))
