"""JSON lines: one object on one line of stdout for each file, as it ends.

The object has the file's path, then the fields of the JSON format; or the error that it ended with.
"""

import json

from maxwhisper_cli.writers.base import Document
from maxwhisper_cli.writers.json import json_content
from weights.errors import MaxWhisperError


class JsonLines:
    """Sink of all files of a command."""

    def line(self, path: str, document: Document | None, error: MaxWhisperError | None) -> str:
        """Returns the line of a file, with its line feed.

        Args:
            path: The file as it was given; `-` is standard input.
            document: Its transcript; None if it failed.
            error: The reason why it failed.
        """
        content = json_content(document) if document else {"error": str(error)}
        return json.dumps({"path": path, **content}, ensure_ascii=False, allow_nan=False) + "\n"
