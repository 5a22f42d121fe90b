"""JSON lines: one object on one line of stdout for each file, as it ends.

The object has the file's path, the fields that its manifest has of its own, then the fields of the
JSON format; or the error that it ended with.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from maxwhisper_cli.writers.base import Document
from maxwhisper_cli.writers.json import json_content, json_value
from weights.errors import MaxWhisperError

_NO_FIELDS: Mapping[str, object] = MappingProxyType({})


class JsonLines:
    """Sink of all files of a command."""

    def line(
        self,
        path: str,
        document: Document | None,
        error: MaxWhisperError | None,
        fields: Mapping[str, object] = _NO_FIELDS,
    ) -> str:
        """Returns the line of a file, with its line feed.

        Args:
            path: The file as it was given; `-` is standard input.
            document: Its transcript; None if it failed.
            error: The reason why it failed.
            fields: Fields of its manifest.
        """
        content = json_content(document) if document else {"error": str(error)}
        record = {"path": path, **with_own_fields(fields, content)}
        return json.dumps(record, ensure_ascii=False, allow_nan=False, default=str) + "\n"


def with_own_fields(fields: Mapping[str, object], content: Mapping[str, Any]) -> dict[str, Any]:
    """Returns fields of a manifest, then those of a result.

    A field of the manifest that has the name of another of the result is called `manifest_` and
    its name, so that nothing is lost.
    """
    own = {
        f"manifest_{name}" if name in content or name == "path" else name: json_value(value)
        for name, value in fields.items()
    }
    return {**own, **content}
