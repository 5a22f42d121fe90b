"""Choice of a container's audio track."""

from contextlib import suppress

from av.audio.stream import AudioStream
from av.container import InputContainer

from maxwhisper_cli.audio.stream import AudioError
from maxwhisper_cli.transcription.languages import LanguageError, parse_language
from weights.whole_number import whole_number


def choose_track(container: InputContainer, track: int | str | None, name: str) -> AudioStream:
    """Returns the track of a number, from 1 on, or a language; None is the default track.

    Raises:
        AudioError: There is no such track; it lists those that are there.
    """
    chosen = _find_track(container, track, name)
    if chosen.codec_context is None:  # whatever PyAV's types say
        raise AudioError(f"{name} has sound in a coding that FFmpeg does not know")
    return chosen


def _find_track(container: InputContainer, track: int | str | None, name: str) -> AudioStream:
    tracks = list(container.streams.audio)
    if track is None:
        best = container.streams.best("audio")
        assert isinstance(best, AudioStream)
        return best
    number = whole_number(str(track))
    if number is not None:
        if 1 <= number <= len(tracks):
            return tracks[number - 1]
    else:
        wanted = _language_keys(str(track))
        for each in tracks:
            if wanted & _language_keys(each.metadata.get("language", "")):
                return each
    raise AudioError(f"{name} has no audio track {track!r}; it has {_listed(tracks)}")


def _listed(tracks: list[AudioStream]) -> str:
    """Returns a list of tracks: `1 (eng), 2 (spa)`."""
    languages = (each.metadata.get("language") for each in tracks)
    return ", ".join(
        f"{number} ({language})" if language else str(number)
        for number, language in enumerate(languages, 1)
    )


def _language_keys(text: str) -> set[str]:
    """Returns the names of a language: as written, and as Whisper's code."""
    text = text.strip().lower()
    keys = {text} - {"", "und"}
    with suppress(LanguageError):
        keys.add(parse_language(text))
    return keys
