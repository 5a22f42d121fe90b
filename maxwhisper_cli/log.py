"""Level and form of what is said on stderr, for programs that read it: `--log-level`, `--log-json`.

Without these options nothing of it is used. With them the messages of libraries come the same way.
"""

import sys
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass

_HANDLER = "maxwhisper"
LEVELS = ("debug", "info", "warning", "error")
"""Levels, the least first."""


@dataclass(frozen=True, slots=True)
class Log:
    """Form of the lines, and the least level that is shown."""

    level: str = "info"
    is_json: bool = False

    def shows(self, level: str) -> bool:
        """Returns True if a level is shown."""
        return LEVELS.index(level) >= LEVELS.index(self.level)

    def write(self, level: str, message: str, **more: str) -> None:
        """Writes a line of JSON: time (UTC), level, message, and more fields."""
        import json
        import time

        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        at = f"{stamp}.{int(now % 1 * 1000):03}Z"
        entry: Mapping[str, str] = {"time": at, "level": level, "message": message, **more}
        sys.stderr.write(f"{json.dumps(entry, ensure_ascii=False)}\n")
        sys.stderr.flush()


_CURRENT: ContextVar[Log] = ContextVar("log", default=Log())  # noqa: B039  (it is frozen)


def current_log() -> Log:
    """Returns the level and form that hold in this context."""
    return _CURRENT.get()


def use_log(level: str | None, *, is_json: bool) -> None:
    """Sets level and form for this context, and for the messages of libraries.

    Args:
        level: One of `LEVELS`; None is `info`.
        is_json: True for a line of JSON for each message.
    """
    log = Log(level or "info", is_json)
    _CURRENT.set(log)
    if level is None and not is_json:
        return
    _listen_to_libraries(log, is_chosen=level is not None)


def _listen_to_libraries(log: Log, *, is_chosen: bool) -> None:
    """Writes the messages of libraries as this program's own, warnings if no level was chosen."""
    import logging

    class Handler(logging.Handler):
        """Passes the messages of libraries on."""

        def emit(self, record: logging.LogRecord) -> None:
            """Writes a message as this program writes its own."""
            name = logging.getLevelName(record.levelno).lower()
            shown = name if name in LEVELS else "error"
            message = record.getMessage()
            if log.is_json:
                log.write(shown, message, logger=record.name)
            else:
                sys.stderr.write(f"{shown}: {message}\n")

    root = logging.getLogger()
    for handler in root.handlers.copy():
        if handler.get_name() == _HANDLER:
            root.removeHandler(handler)
    own = Handler()
    own.set_name(_HANDLER)
    root.addHandler(own)
    root.setLevel(log.level.upper() if is_chosen else logging.WARNING)
