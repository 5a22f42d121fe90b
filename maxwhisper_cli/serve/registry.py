"""Models of the server by name: loaded when they are wanted, dropped when nobody uses them.

A name is one that the server was started with, another spelling of it, or one of OpenAI's, which
stands for the first model. No request can make the server load anything else.
"""

import asyncio
import ctypes
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from implementations.errors import ImplementationUnavailableError
from implementations.memory import available_bytes
from maxwhisper_cli.model import Model
from maxwhisper_cli.serve.engine import Engine
from maxwhisper_cli.serve.errors import ApiError
from maxwhisper_cli.serve.memory import needed_bytes
from weights.cache import expanded
from weights.models import NAMED_MODELS

_log = logging.getLogger(__name__)
_OPENAI = re.compile(r"whisper-1|gpt-(4o-)?(mini-)?transcribe(-diarize)?(-\d{4}-\d\d-\d\d)?", re.I)
_PREFIX = re.compile(r"(\w[\w.-]*/)?(faster-)?(whisper-)?", re.I)
_LOOK_SECONDS = 1.0


@dataclass(eq=False)
class Served:
    """A model, loaded or not."""

    id: str
    """Name in requests."""
    source: str
    """Name or path to load it from."""
    model: Model | None = None
    engine: Engine | None = None
    n_leases: int = 0
    last_used: float = field(default_factory=time.monotonic)
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def is_loaded(self) -> bool:
        """True if it can be used at once."""
        return self.engine is not None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model for as long as its lease lasts."""

    id: str
    model: Model
    engine: Engine


class ModelRegistry:
    """Models of a server."""

    def __init__(
        self,
        sources: Sequence[str],
        load: Callable[[str], Model],
        start: Callable[[Model], Engine],
        keep_seconds: float,
    ) -> None:
        """Loads nothing yet.

        Args:
            sources: Names or paths; the first is the one that OpenAI's names stand for.
            load: Loads a model, in a thread.
            start: Starts the engine of a model.
            keep_seconds: Time after which an unused model is dropped; below 0 never.
        """
        self._load = load
        self._start = start
        self._keep_seconds = keep_seconds
        self._served = {served.id: served for served in map(_served, sources)}
        self._loading = asyncio.Lock()
        self.is_stopping = False

    @property
    def all(self) -> tuple[Served, ...]:
        """All models, the first in front."""
        return tuple(self._served.values())

    @property
    def first(self) -> Served:
        """The model that OpenAI's names stand for."""
        return self.all[0]

    @property
    def loaded(self) -> tuple[Served, ...]:
        """Models that are in memory."""
        return tuple(served for served in self.all if served.is_loaded)

    @property
    def is_ready(self) -> bool:
        """True if a request would not wait for the first load of a model."""
        return self._is_warm and not self.is_stopping

    _is_warm = False

    def find(self, name: str) -> Served:
        """Returns the model of a name; the first one for an empty name and OpenAI's.

        Raises:
            ApiError: The server has no such model.
        """
        if not name or _OPENAI.fullmatch(name):
            return self.first
        for spelling in (name, _PREFIX.sub("", name, count=1)):
            for served in self.all:
                if _same(served.id, spelling):
                    return served
        known = ", ".join(self._served)
        raise ApiError(
            404,
            f"the model {name!r:.80} does not exist here; this server has {known}",
            param="model",
            code="model_not_found",
        )

    def count(self, name: str) -> int:
        """Returns the sum of one of the engines' numbers."""
        return sum(int(getattr(served.engine, name)) for served in self.loaded)

    @asynccontextmanager
    async def lease(self, served: Served) -> AsyncIterator[Loaded]:
        """Loads a model if it is not, and keeps it until the block ends.

        Raises:
            MaxWhisperError: It cannot be loaded.
        """
        served.n_leases += 1
        try:
            if not served.is_loaded:
                await asyncio.shield(asyncio.ensure_future(self._load_once(served)))
            assert served.model is not None
            assert served.engine is not None
            yield Loaded(served.id, served.model, served.engine)
        finally:
            served.n_leases -= 1
            served.last_used = time.monotonic()

    async def _load_once(self, served: Served) -> None:
        async with self._loading:
            if served.is_loaded:
                return
            await self._make_place(served)
            began = time.monotonic()
            model = await self._load_beside(served.source)
            served.model, served.engine = model, self._start(model)
            self._is_warm = True
            implementation = model.implementation
            _log.info(
                "%s is loaded on %s (%s, %s) after %.1f s",
                served.id,
                implementation.name,
                implementation.device,
                implementation.dtype,
                time.monotonic() - began,
            )
            for note in filter(None, (model.hint, *model.notes)):
                _log.info("%s: %s", served.id, note)

    async def _load_beside(self, source: str) -> Model:
        """Loads a model, in a thread; where memory does not suffice, others make place for it."""
        while True:
            try:
                return await asyncio.to_thread(self._load, source)
            except ImplementationUnavailableError as error:
                if "memory" not in str(error) or not await self._drop_oldest():
                    raise

    async def _make_place(self, wanted: Served) -> None:
        """Drops unused models until another one fits."""
        needed = needed_bytes(wanted.source)
        while (available := available_bytes()) is not None and needed > available:
            if not await self._drop_oldest():
                return

    async def _drop_oldest(self) -> bool:
        """Drops the model that was not used for the longest time; False if all are in use."""
        unused = [each for each in self.loaded if each.n_leases == 0]
        if unused:
            await self._drop(min(unused, key=lambda each: each.last_used))
        return bool(unused)

    async def drop_unused(self) -> None:
        """Drops models that nobody has used for some time; runs until it is cancelled."""
        while self._keep_seconds >= 0:
            await asyncio.sleep(min(_LOOK_SECONDS, self._keep_seconds + 0.1))
            for served in self.loaded:
                idle = time.monotonic() - served.last_used
                if served.n_leases == 0 and idle > self._keep_seconds:
                    await self._drop(served)

    async def _drop(self, served: Served) -> None:
        engine, model = served.engine, served.model
        served.engine = served.model = None
        if engine is not None and model is not None:
            await asyncio.to_thread(_close, engine, model)
            _log.info("%s is dropped", served.id)

    def stop(self) -> None:
        """Refuses all jobs that nobody has begun with."""
        self.is_stopping = True
        for served in self.loaded:
            if served.engine is not None:
                served.engine.refuse_waiting()

    async def close(self) -> None:
        """Drops all models."""
        for served in self.loaded:
            await self._drop(served)


def _close(engine: Engine, model: Model) -> None:
    engine.close()
    model.close()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc keeps freed memory else


def _served(source: str) -> Served:
    path = expanded(Path(source))
    is_path = source not in NAMED_MODELS and path.exists()
    return Served(path.stem if is_path else source, source)


def _same(name: str, other: str) -> bool:
    first, second = (NAMED_MODELS.get(each.lower()) for each in (name, other))
    is_same_model = first is not None and second is not None and first.name == second.name
    return is_same_model or name.lower() == other.lower()
