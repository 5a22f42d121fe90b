"""Recordings of the section `reading`: the long clip in each format, as programs write it."""

import argparse
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr
from av.audio.stream import AudioStream

from maxwhisper_cli.audio.reader import SAMPLE_RATE

STEREO_SHIFT = 480
"""Samples by which the second channel is late, so that the two differ."""


def main() -> None:
    """Writes all formats into a folder that has the clip."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    clip = np.load(folder / "samples.npy").astype(np.float32)
    mono = clip[np.newaxis]
    at_44, at_48 = (_stereo(soxr.resample(clip, SAMPLE_RATE, rate)) for rate in (44100, 48000))
    write(folder / "44.1 kHz stereo.mp3", "libmp3lame", at_44, 44100, 128_000)
    write(folder / "16 kHz mono.mp3", "libmp3lame", mono, SAMPLE_RATE, 48_000)
    write(folder / "44.1 kHz stereo.m4a", "aac", at_44, 44100, 128_000)
    write(folder / "48 kHz stereo.opus", "libopus", at_48, 48000, 96_000)
    soundfile.write(folder / "44.1 kHz stereo.flac", at_44.T, 44100)
    soundfile.write(folder / "44.1 kHz stereo.wav", at_44.T, 44100)
    soundfile.write(folder / "16 kHz mono.wav", clip, SAMPLE_RATE)


def _stereo(samples: np.ndarray) -> np.ndarray:
    return np.stack([samples, np.roll(samples, STEREO_SHIFT)]).astype(np.float32)


def write(path: Path, codec: str, samples: np.ndarray, rate: int, bit_rate: int) -> None:
    """Writes `[n_channels, n_samples]` floats."""
    with av.open(str(path), "w", format="mp4" if path.suffix == ".m4a" else None) as output:
        stream = output.add_stream(codec, rate=rate)
        assert isinstance(stream, AudioStream)
        layout = "mono" if len(samples) == 1 else "stereo"
        stream.layout, stream.bit_rate = layout, bit_rate
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples), format="fltp", layout=layout
        )
        frame.sample_rate, frame.pts = rate, 0
        resampler = av.AudioResampler(stream.codec_context.format.name, layout, rate)
        for converted in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(converted))
        output.mux(stream.encode(None))


if __name__ == "__main__":
    main()
