"""openai-whisper's own command, but for reading audio: soundfile instead of an ffmpeg program.

Run by `command_bars.py`. Takes the arguments of `whisper`; files must be at 16 kHz.
"""

import importlib

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 16000


def load_audio(file: str, sr: int = SAMPLE_RATE) -> npt.NDArray[np.float32]:
    """Mono samples, as `whisper.audio.load_audio` gives them."""
    import soundfile

    samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    if rate != sr:
        raise ValueError(f"{file}: is at {rate} Hz; give a file at {sr} Hz")
    mono: npt.NDArray[np.float32] = samples.mean(axis=1)
    return mono


def main() -> None:
    # `whisper.transcribe` names the function; the module of that name is asked for by import.
    audio, transcribe = (importlib.import_module(f"whisper.{n}") for n in ("audio", "transcribe"))
    audio.load_audio = load_audio  # type: ignore[attr-defined]
    transcribe.cli()


if __name__ == "__main__":
    main()
