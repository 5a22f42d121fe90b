"""`/inference`: the route and the fields of whisper.cpp's server, as those of OpenAI's."""

from collections.abc import Iterable

from maxwhisper_cli.serve.errors import invalid
from maxwhisper_cli.transcription.options import Task
from weights.whole_number import whole_number

_SAME = frozenset(
    {
        "response_format", "temperature", "temperature_inc", "language", "prompt", "beam_size",
        "best_of", "no_speech_thold", "logprob_thold", "carry_initial_prompt", "vad",
        "vad_threshold", "vad_min_speech_duration_ms", "vad_min_silence_duration_ms",
        "vad_speech_pad_ms", "vad_max_speech_duration_s", "file", "model", "stream",
    }
)  # fmt: skip
_RENAMED = {"no_timestamps": "without_timestamps", "token_timestamps": "word_timestamps"}
_NEUTRAL = {
    "offset_t": "0", "offset_n": "0", "duration": "0", "max_len": "0", "max_context": "-1",
    "audio_ctx": "0", "word_thold": "0.01", "entropy_thold": "2.4", "suppress_nst": "false",
    "split_on_word": "false", "diarize": "false", "tinydiarize": "false", "debug_mode": "false",
    "detect_language": "false", "no_context": "false", "no_language_probabilities": "false",
    "suppress_non_speech": "true", "vad_samples_overlap": "0.1",
}  # fmt: skip
"""Fields with whisper.cpp's defaults, of which other values are refused."""
_FALSE = frozenset({"", "false", "0"})


def from_whisper_cpp(fields: Iterable[tuple[str, str]]) -> tuple[list[tuple[str, str]], Task]:
    """Returns the fields of a request in this server's names, and the task.

    Raises:
        ApiError: A field is unknown, or cannot be honoured.
    """
    task: Task = "transcribe"
    translated: list[tuple[str, str]] = []
    clip = {"offset_t": 0.0, "duration": 0.0}
    for name, text in fields:
        if name == "translate":
            task = "transcribe" if text.strip().lower() in _FALSE else "translate"
        elif name in clip:
            clip[name] = _milliseconds(name, text)
        elif name in _RENAMED:
            translated.append((_RENAMED[name], text))
        elif name in {"beam_size", "best_of"} and text.strip() == "-1":
            continue  # the default
        elif name in _SAME:
            translated.append((name, text))
        else:
            _check_neutral(name, text)
    start, length = clip["offset_t"], clip["duration"]
    if start or length:
        end = f",{start + length:g}" if length else ""
        translated.append(("clip_timestamps", f"{start:g}{end}"))
    return translated, task


def _milliseconds(name: str, text: str) -> float:
    number = whole_number(text.strip())
    if number is None:
        raise invalid(f"{name} must be a number of milliseconds, not {text!r:.40}", name)
    return number / 1000


def _check_neutral(name: str, text: str) -> None:
    if name not in _NEUTRAL:
        raise invalid(f"there is no field {name!r:.80}", name[:80], "unknown_parameter")
    given, neutral = text.strip().lower(), _NEUTRAL[name]
    is_off = neutral == "false" and given in _FALSE
    if given and given != neutral and not is_off:
        raise invalid(f"{name} is not supported, but as {neutral}", name, "unsupported_parameter")
