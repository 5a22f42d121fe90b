"""Command `maxwhisper serve`: an HTTP server that OpenAI's clients can use.

The server itself is in `serve/`, which is imported only here, and needs the extra of that name.
"""

import logging
import signal
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from implementations import registry
from implementations.errors import ImplementationUnavailableError
from maxwhisper_cli import cli_options as cli
from maxwhisper_cli import cli_serving
from maxwhisper_cli.commands.option_parsing import parse_batch_size, parse_device
from maxwhisper_cli.console import Terminal
from maxwhisper_cli.stopping import INTERRUPTED
from maxwhisper_cli.transcription.options import AUTO_ROWS, OptionsError, TranscribeOptions
from maxwhisper_cli.unicode_text import decode_text
from maxwhisper_cli.upstream_style import UpstreamCommand, as_command
from weights.cache import expanded
from weights.errors import MaxWhisperError

if TYPE_CHECKING:
    from maxwhisper_cli.model import Model
    from maxwhisper_cli.serve.limits import Limits
    from maxwhisper_cli.serve.server import Settings

_PACKAGES = ("fastapi", "uvicorn", "websockets", "python_multipart", "prometheus_client")
_OTHERS = 0o077
"""Bits of a file's mode that let others read or change it."""
_MAX_PORT = 65535


class MissingPackagesError(MaxWhisperError):
    """A command needs packages that are not installed."""


@dataclass(frozen=True, slots=True)
class Serve:
    """Serve transcriptions over HTTP, as OpenAI's clients expect them.

    It listens on this machine alone unless --host says otherwise. Ctrl-C or SIGTERM ends it, after
    the requests that are being decoded.
    """

    host: cli_serving.Host = "127.0.0.1"
    port: cli_serving.Port = 8000
    api_key_file: cli_serving.KeyFile = None
    cors_origin: cli_serving.Origins = None
    allow_host: cli_serving.Hosts = None
    allow_url: cli_serving.AllowUrl = False
    model: cli_serving.Models = None
    model_dir: cli.ModelDir = None
    offline: cli.Offline = False
    impl: cli.Impl = registry.AUTO
    device: cli.Device = None
    dtype: cli.Dtype = "auto"
    threads: cli.Threads = 0
    batch_size: cli_serving.Rows = None
    keep_alive: cli_serving.KeepAlive = 600.0
    max_upload_mb: cli_serving.MaxUpload = 500.0
    max_spool_mb: cli_serving.MaxSpool = 4000.0
    max_audio_seconds: cli_serving.MaxAudio = 14400.0
    max_request_seconds: cli_serving.MaxRequest = 3600.0
    max_idle_seconds: cli_serving.MaxIdle = 30.0
    max_queue: cli_serving.MaxQueue = 256
    max_connections: cli_serving.MaxConnections = 1024
    stop_seconds: cli_serving.StopSeconds = 30.0
    spool_dir: cli_serving.SpoolDir = None
    quiet: cli.Quiet = False

    def run(self) -> None:
        """Checks all options, then serves until a signal comes."""
        _require_packages()
        terminal = Terminal(is_quiet=self.quiet)
        _log_to(terminal)
        from maxwhisper_cli.serve.server import address_of, open_socket, serve

        settings = self._settings(terminal)
        _import_framework(self.impl)
        with open_socket(settings.host, settings.port) as listening:
            address = address_of(listening)
            terminal.note(f"listening on {address}; loading {settings.sources[0]}")
            stopped_by = serve(
                settings, listening, self._load, lambda: terminal.note(f"ready on {address}")
            )
        if stopped_by == signal.SIGINT:
            raise typer.Exit(INTERRUPTED)

    def _settings(self, terminal: Terminal) -> "Settings":
        from maxwhisper_cli.serve.guard import LOCAL_HOSTS, Access
        from maxwhisper_cli.serve.server import Settings

        keys = _read_keys(self.api_key_file, terminal)
        is_local = self.host in LOCAL_HOSTS
        if not is_local and not keys:
            terminal.warning(
                f"everybody who reaches {self.host} may use this server: "
                "give --api-key-file, or listen on 127.0.0.1"
            )
        access = Access(
            tuple(keys), is_local, tuple(self.cors_origin or ()), tuple(self.allow_host or ())
        )
        return Settings(
            sources=self._sources(terminal),
            host=self.host,
            port=_port(self.port),
            keep_seconds=self.keep_alive,
            n_rows=self._n_rows(),
            spool_dir=self.spool_dir,
            model_dir=self.model_dir,
            is_offline=self.offline,
            may_fetch=self.allow_url,
            access=access,
            limits=self._limits(),
        )

    def _limits(self) -> "Limits":
        from maxwhisper_cli.serve.limits import Limits

        return replace(
            Limits(),
            upload_bytes=int(_above_0(self.max_upload_mb, "--max-upload-mb") * 1e6),
            spool_bytes=int(_above_0(self.max_spool_mb, "--max-spool-mb") * 1e6),
            audio_seconds=_above_0(self.max_audio_seconds, "--max-audio-seconds"),
            request_seconds=_above_0(self.max_request_seconds, "--max-request-seconds"),
            idle_seconds=_above_0(self.max_idle_seconds, "--max-idle-seconds"),
            queue=_at_least(1, self.max_queue, "--max-queue"),
            connections=_at_least(1, self.max_connections, "--max-connections"),
            stop_seconds=_above_0(self.stop_seconds, "--stop-seconds"),
        )

    def _n_rows(self) -> int | None:
        rows = parse_batch_size(self.batch_size, n_files=2)  # as for several files
        TranscribeOptions(batch_size=rows)  # checks it
        return None if rows == AUTO_ROWS else rows

    def _sources(self, terminal: Terminal) -> tuple[str, ...]:
        """Returns the models that are served, each of which must be found here or by name."""
        from weights.default_model import choose_default

        parse_device(self.device)
        for source in self.model or ():
            _check_source(source)
        if self.model:
            return tuple(dict.fromkeys(self.model))
        default = choose_default(
            model_dir=self.model_dir, offline=self.offline, on_note=terminal.warning
        )
        return (default.name,)

    def _load(self, source: str) -> "Model":
        from maxwhisper_cli.model import load

        log = logging.getLogger(__name__)
        return load(
            source,
            self.impl,
            device=parse_device(self.device),
            dtype=self.dtype,
            n_threads=self.threads or 0,
            model_dir=self.model_dir,
            offline=self.offline,
            on_compile=log.info,
            on_note=log.warning,
        )


def _check_source(source: str) -> None:
    """Checks that a model has a known name or a path, before it is wanted.

    Raises:
        ModelNotFoundError: It has neither.
    """
    from weights.hub import hub_model
    from weights.models import NAMED_MODELS
    from weights.resolve import resolve

    is_known = source in NAMED_MODELS or expanded(Path(source)).exists()
    if not is_known and hub_model(source) is None:
        resolve(source, offline=True)  # its error says which there are


def _import_framework(impl: str) -> None:
    """Imports MAX, if it may be used, in the main thread; models are loaded in others."""
    with suppress(ImplementationUnavailableError):
        name = "full-max" if impl == registry.AUTO else impl
        registry.implementation_class(name).import_framework()


def _require_packages() -> None:
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise MissingPackagesError(
            f"serve needs packages that are not here ({', '.join(missing)}): "
            "pip install 'maxwhisper[serve]'"
        )


def _read_keys(path: Path | None, terminal: Terminal) -> list[str]:
    """Returns the keys in a file; None has none.

    Raises:
        OptionsError: It cannot be read, or has no key.
    """
    if path is None:
        return []
    from maxwhisper_cli.serve.guard import read_keys

    try:
        keys = list(read_keys(decode_text(path.read_bytes())))
        if path.stat().st_mode & _OTHERS:
            terminal.warning(f"others may read the keys in {path}: chmod 600 {path}")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OptionsError(f"--api-key-file {path} cannot be read: {reason}") from error
    if not keys:
        raise OptionsError(f"--api-key-file {path} has no key: write one on each line")
    return keys


def _port(number: int) -> int:
    if not 0 <= number <= _MAX_PORT:
        raise OptionsError(f"--port must be from 0 to {_MAX_PORT}, not {number}")
    return number


def _above_0(value: float, name: str) -> float:
    if not value > 0:
        raise OptionsError(f"{name} must be above 0, not {value:g}")
    return value


def _at_least(minimum: int, value: int, name: str) -> int:
    if value < minimum:
        raise OptionsError(f"{name} must be at least {minimum}, not {value}")
    return value


class _TerminalHandler(logging.Handler):
    """Handler that writes log lines as the terminal writes all else."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(logging.INFO)
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a line, and the traceback of a bug."""
        write = self._terminal.note if record.levelno < logging.WARNING else self._terminal.warning
        for line in self.format(record).splitlines():
            write(line)


def _log_to(terminal: Terminal) -> None:
    handler = _TerminalHandler(terminal)
    logger = logging.getLogger("maxwhisper_cli")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # we log what failed ourselves


def add_to(app: typer.Typer) -> None:
    """Registers the command in an application."""
    app.command("serve", cls=UpstreamCommand)(as_command(Serve))
