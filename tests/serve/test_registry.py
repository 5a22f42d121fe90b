"""Models of a server: found by many names, loaded once, dropped when nobody uses them."""

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

import pytest

from implementations.errors import ImplementationUnavailableError
from maxwhisper_cli.model import Model
from maxwhisper_cli.serve import registry
from maxwhisper_cli.serve.engine import Engine
from maxwhisper_cli.serve.errors import ApiError
from maxwhisper_cli.serve.registry import ModelRegistry
from tests.support.scripted import ScriptedImplementation, window


class FakeEngine:
    """An engine without threads."""

    def close(self) -> None:
        pass

    def refuse_waiting(self) -> None:
        pass


class Loads:
    """Loads scripted models, and keeps which."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.fails = False
        self.places = 99
        """Loads that succeed until there is too little memory."""

    def load(self, source: str) -> Model:
        if self.places == 0:
            self.places = 1
            raise ImplementationUnavailableError("cuda:0 has too little memory left")
        self.places -= 1
        self.names.append(source)
        if self.fails:
            raise ImplementationUnavailableError("not today")
        return Model(ScriptedImplementation(lambda _: window([])), source)

    def registry(self, *sources: str, keep_seconds: float = 60) -> ModelRegistry:
        return ModelRegistry(
            sources, self.load, lambda _: cast("Engine", FakeEngine()), keep_seconds
        )


async def use(models: ModelRegistry, name: str) -> str:
    async with models.lease(models.find(name)) as loaded:
        await asyncio.sleep(0)
        return loaded.id


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("", "base"),
        ("whisper-1", "base"),
        ("gpt-4o-mini-transcribe-2025-12-15", "base"),
        ("gpt-4o-transcribe-diarize", "base"),
        ("tiny.en", "tiny.en"),
        ("Tiny.EN", "tiny.en"),
        ("openai/whisper-tiny.en", "tiny.en"),
        ("Systran/faster-whisper-tiny.en", "tiny.en"),
        ("whisper-large-v3-turbo", "turbo"),
    ],
)
def test_many_names_lead_to_a_model(name: str, found: str) -> None:
    async def work() -> None:
        assert Loads().registry("base", "tiny.en", "turbo").find(name).id == found

    run(work())


@pytest.mark.parametrize("name", ["large-v3", "../base", "/etc/passwd", "whisper-2"])
def test_nothing_else_is_loaded(name: str) -> None:
    async def work() -> None:
        with pytest.raises(ApiError) as refused:
            Loads().registry("base").find(name)
        assert (refused.value.status, refused.value.param) == (404, "model")

    run(work())


def test_a_model_is_loaded_once_for_all() -> None:
    async def work() -> None:
        loads = Loads()
        models = loads.registry("base", "tiny.en")
        assert not models.is_ready
        assert await asyncio.gather(*(use(models, "base") for _ in range(5))) == ["base"] * 5
        assert loads.names == ["base"]
        assert models.is_ready
        assert [served.id for served in models.loaded] == ["base"]
        await models.close()
        assert models.loaded == ()

    run(work())


def test_a_failure_is_not_kept() -> None:
    async def work() -> None:
        loads = Loads()
        models = loads.registry("base")
        loads.fails = True
        with pytest.raises(ImplementationUnavailableError):
            await use(models, "base")
        loads.fails = False
        assert await use(models, "base") == "base"

    run(work())


def test_an_unused_model_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_LOOK_SECONDS", 0.01)

    async def work() -> None:
        models = Loads().registry("base", "tiny.en", keep_seconds=0)
        looking = asyncio.create_task(models.drop_unused())
        async with models.lease(models.find("tiny.en")):
            await use(models, "base")
            while len(models.loaded) > 1:
                await asyncio.sleep(0.01)
            assert [served.id for served in models.loaded] == ["tiny.en"]
        while models.loaded:
            await asyncio.sleep(0.01)
        looking.cancel()

    run(work())


def test_a_model_that_does_not_fit_takes_the_place_of_an_unused_one() -> None:
    async def work() -> None:
        loads = Loads()
        models = loads.registry("base", "tiny.en", "small")
        loads.places = 2
        await use(models, "base")
        await use(models, "tiny.en")
        await use(models, "small")
        assert [each.id for each in models.loaded] == ["tiny.en", "small"]

    run(work())


def test_the_least_recently_used_makes_place(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        models = Loads().registry("base", "tiny.en", "small", "medium")
        for name in ("tiny.en", "small", "base"):
            await use(models, name)
        monkeypatch.setattr(registry, "available_bytes", lambda: 10 * (4 - len(models.loaded)))
        monkeypatch.setattr(registry, "needed_bytes", lambda _: 20)
        async with models.lease(models.find("tiny.en")):
            await use(models, "medium")
            assert [each.id for each in models.loaded] == ["base", "tiny.en", "medium"]

    run(work())
