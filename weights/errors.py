"""Root of the project's exception tree, and the errors of weights.

Every mistake of a user ends in one of these; any other exception is a bug and shows its traceback.

    MaxWhisperError
    ├── WeightsError                    (here) a file cannot be read as Whisper weights
    │   └── ModelNotFoundError          (here) a model name is not here and cannot be fetched
    ├── ImplementationUnavailableError  (implementations.errors) a package or device is missing
    ├── ImplementationFailedError       (implementations.errors) it can run here, and did not
    ├── AudioError                      (maxwhisper_cli.audio.reader) undecodable audio
    ├── LanguageError                   (maxwhisper_cli.transcription.languages) not one it knows
    ├── SampleError                     (maxwhisper_cli.samples) no such sample, or no place for it
    ├── PackageArchiveError             (maxwhisper_cli.package_archive) not found, or not as pinned
    ├── OptionsError                    (maxwhisper_cli.transcription.options) options conflict
    └── OutputError                     (maxwhisper_cli.writers.base) an output cannot be written
"""

from weights.printable import printable

_N_CHARACTERS = 2000


class MaxWhisperError(Exception):
    """Base of every error with a message for the user: what, where, what to do, in one line.

    A message may quote names from damaged files: it is cut to a readable length, and control
    characters become escapes.
    """

    def __init__(self, message: str) -> None:
        if len(message) > _N_CHARACTERS:  # a name may be long; what is said of it comes last
            message = f"{message[: _N_CHARACTERS // 2]} ... {message[-_N_CHARACTERS // 2 :]}"
        one_line = " ".join(message.split())
        super().__init__(printable(one_line))


class WeightsError(MaxWhisperError):
    """A file or folder cannot be read as Whisper weights."""


class ModelNotFoundError(WeightsError):
    """No weights for a model name: neither here nor, where allowed, at its publisher's."""
