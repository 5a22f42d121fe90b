"""Reference texts of recordings, read from files of any Unicode encoding.

A transcript that this program wrote is no reference, since it would be judged by itself.
"""

from pathlib import Path

import msgspec

from maxwhisper_cli.compare.results import ComparisonError, Recording
from maxwhisper_cli.unicode_text import decode_text
from weights.cache import is_written


def text_beside(file: str) -> Path:
    """Returns the path of the text that belongs to a recording: `talk.txt` of `talk.wav`."""
    path = Path(file)
    return path.parent / f"{path.stem}.txt"


def with_reference(file: str, chosen: Path | None) -> Recording:
    """Pairs a recording with its reference text.

    Args:
        file: The recording.
        chosen: Its reference; None takes the text beside it, unless this program wrote it.

    Raises:
        ComparisonError: the text cannot be read.
    """
    path = chosen or text_beside(file)
    if chosen is None and not path.is_file():
        return Recording(file, None)
    text = read_text(path)
    if not _is_own(path, text):
        return Recording(file, text, str(path))
    if chosen is None:
        return Recording(
            file,
            None,
            reference_warning=(
                f"{path} is a transcript as this program writes them, and so no reference: "
                "correct it, or name another with --reference"
            ),
        )
    warning = (
        f"the reference {path} is a transcript as this program writes them: errors mean little"
    )
    return Recording(file, text, str(path), reference_warning=warning)


def read_text(path: Path) -> str:
    """Returns a file's text, without a byte order mark and with plain line ends.

    Raises:
        ComparisonError: it cannot be read, or is no Unicode text.
    """
    try:
        text = decode_text(path.read_bytes())
    except OSError as error:
        raise ComparisonError(f"the reference {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ComparisonError(
            f"the reference {path} is not UTF-8 text: save it in that encoding"
        ) from error
    if "\0" in text:
        raise ComparisonError(f"the reference {path} is no text: save it as UTF-8")
    return "\n".join(text.splitlines()).strip()


def _is_own(path: Path, text: str) -> bool:
    """Returns True for a transcript of this program, by its record or the JSON beside it."""
    return is_written(path) or _words_of_json(path.with_suffix(".json")) == text.split()


class _Written(msgspec.Struct):
    """Part of a JSON transcript that is compared; other files lack `segments`."""

    text: str
    segments: list[msgspec.Raw]


def _words_of_json(path: Path) -> list[str] | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Written).text.split()
    except (OSError, msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
