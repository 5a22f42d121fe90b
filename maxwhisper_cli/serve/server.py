"""The process of the server: its socket, signals, models in the background, and its end."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from maxwhisper_cli.model import Model
from maxwhisper_cli.recording import RecordingReader
from maxwhisper_cli.serve.app import make_app
from maxwhisper_cli.serve.connection import limited_protocol
from maxwhisper_cli.serve.engine import Engine
from maxwhisper_cli.serve.guard import Access
from maxwhisper_cli.serve.limits import Limits
from maxwhisper_cli.serve.registry import ModelRegistry
from maxwhisper_cli.serve.service import Service
from maxwhisper_cli.serve.spool import Spool
from maxwhisper_cli.speech.network_loader import NetworkLoader
from maxwhisper_cli.throughput.read_ahead import count_reading_threads
from maxwhisper_cli.transcription.stopwatch import STOPPED
from weights.errors import MaxWhisperError

_log = logging.getLogger(__name__)
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 1024
_MIN_READERS = 2
"""Threads that read: a long recording holds one of them up."""
_MAX_READERS = 8
_MAX_MESSAGE_BYTES = 21 * 2**20
"""15 MiB of audio in base64, and what surrounds it."""


class ListenError(MaxWhisperError):
    """The server cannot listen there."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a server."""

    sources: tuple[str, ...]
    """Names or paths of its models, the default one first."""
    host: str = "127.0.0.1"
    port: int = 8000
    keep_seconds: float = 600.0
    """Time after which an unused model is dropped; below 0 never."""
    n_rows: int | None = None
    """Windows to decode side by side; None is as many as pay on the device."""
    spool_dir: Path | None = None
    model_dir: Path | None = None
    is_offline: bool = False
    may_fetch: bool = False
    """True if recordings may be fetched from public addresses."""
    access: Access = field(default_factory=Access)
    limits: Limits = field(default_factory=Limits)


def open_socket(host: str, port: int) -> socket.socket:
    """Returns a socket that listens.

    Raises:
        ListenError: The address is taken, not allowed or none of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        is_of_system = (error.errno or 0) > 0  # and not of a name server
        reason = os.strerror(error.errno or 0) if is_of_system else error.strerror or error
        raise ListenError(
            f"cannot listen on {host}, port {port}: {reason}; choose others with --host and --port"
        ) from error


def address_of(listening: socket.socket) -> str:
    """Returns the address of a socket, as a browser takes it."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    settings: Settings,
    listening: socket.socket,
    load: Callable[[str], Model],
    on_ready: Callable[[], None],
) -> int | None:
    """Serves until a signal comes, and then ends what has begun.

    Args:
        settings: Settings of the server.
        listening: Its socket.
        load: Loads a model by name or path, in a thread.
        on_ready: Called once the first model is loaded.

    Returns:
        Number of the signal; None if there was none.

    Raises:
        MaxWhisperError: The first model cannot be loaded.
        SpoolError: The folder for uploads cannot be used.
    """
    return asyncio.run(_Running(settings, load, on_ready).run(listening))


class _Running:
    """A server that runs."""

    def __init__(
        self, settings: Settings, load: Callable[[str], Model], on_ready: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._load = load
        self._on_ready = on_ready
        self._voices = NetworkLoader(settings.model_dir, is_offline=settings.is_offline)
        self._error: BaseException | None = None

    async def run(self, listening: socket.socket) -> int | None:
        settings = self._settings
        self._models = ModelRegistry(
            settings.sources, self._load, self._start_engine, settings.keep_seconds
        )
        spool = Spool(settings.spool_dir, settings.limits.spool_bytes)
        service = Service(self._models, settings.limits, spool, settings.may_fetch)
        config = uvicorn.Config(
            make_app(service, settings.access, self._voices, self._background),
            http=limited_protocol(settings.limits.connections, settings.limits.idle_seconds),
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=int(settings.limits.stop_seconds),
            ws_max_size=_MAX_MESSAGE_BYTES,
        )
        self._server = _Server(config, self._models)
        await self._server.serve([listening])
        if self._error is not None:
            raise self._error
        return self._server.stopped_by

    def _start_engine(self, model: Model) -> Engine:
        implementation = model.implementation
        n_threads = count_reading_threads(implementation.device)
        return Engine(
            implementation,
            RecordingReader(implementation, self._voices, STOPPED),
            self._settings.n_rows or implementation.default_rows,
            min(_MAX_READERS, max(_MIN_READERS, n_threads)),
            self._settings.limits.opened_bytes,
        )

    async def _background(self) -> AsyncIterator[None]:
        """Loads the first model, and drops unused ones, while the block runs."""
        tasks = [
            asyncio.create_task(self._load_first()),
            asyncio.create_task(self._models.drop_unused()),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._models.close()

    async def _load_first(self) -> None:
        try:
            async with self._models.lease(self._models.first):
                self._on_ready()
        except Exception as error:  # noqa: BLE001  (raised by `run`, after the server has ended)
            self._error = error
            self._server.should_exit = True


class _Server(uvicorn.Server):
    """Uvicorn's server, which refuses what waits as it stops, and does not end by its signal."""

    def __init__(self, config: uvicorn.Config, models: ModelRegistry) -> None:
        super().__init__(config)
        self._models = models
        self.stopped_by: int | None = None
        """Number of the signal that it was stopped by."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuses the requests that wait, and lets those that are decoded come to their end."""
        self._models.stop()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handles signals while the block runs."""
        with super().capture_signals():
            try:
                yield
            finally:
                self.stopped_by = next(iter(self._captured_signals), None)
                self._captured_signals.clear()
