"""Made-up sound: tones, and files in formats that only FFmpeg's libraries write."""

from pathlib import Path

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
