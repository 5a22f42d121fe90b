"""Models of a hub, from one that these tests serve: formats, revisions, tokens, faults."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import ggml
from tests.support.checkpoints import SMALL_DIMS, random_tensors, write_huggingface, write_openai
from tests.support.fake_hub import COMMITS, FakeHub, served
from weights.errors import ModelNotFoundError, WeightsError
from weights.hub import HubModel, hub_model
from weights.resolve import load, resolve

pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")
DISTIL = replace(SMALL_DIMS, n_text_layer=1)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    folder = tmp_path_factory.mktemp("hub")
    whole = write_huggingface(folder / "whole", DISTIL, random_tensors(DISTIL))
    (whole / "generation_config.json").write_text(
        '{"no_timestamps_token_id": 50362, "alignment_heads": [[0, 1]]}'
    )
    shards = write_huggingface(folder / "shards", SMALL_DIMS, random_tensors(), n_shards=2)
    others = {"README.md": b"# x", "flax_model.msgpack": b"x" * 100, "run.py": b"raise SystemExit"}
    pickled = write_openai(folder / "pytorch_model.bin", None, random_tensors())
    ggml_file = ggml.ggml_bytes(SMALL_DIMS, random_tensors())
    return {
        "distil-whisper/distil-small.en": {**contents(whole), **others},
        "anna/shards": contents(shards),
        "anna/pickled": {
            "pytorch_model.bin": pickled.read_bytes(),
            "config.json": (whole / "config.json").read_bytes(),
        },
        "anna/whisper.cpp": {"ggml-tiny.en.bin": ggml_file, "ggml-base.bin": b"x"},
        "anna/outside": {
            "model.safetensors.index.json": b'{"weight_map": {"a": "../../x.safetensors"}}'
        },
        "anna/text": {"config.json": b"{}", "model.onnx": b"x"},
    }


@pytest.fixture
def hub(
    repositories: dict[str, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FakeHub]:
    import huggingface_hub.constants

    for variable in ("HF_TOKEN", "HF_HUB_OFFLINE", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with served(FakeHub({name: dict(files) for name, files in repositories.items()})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def test_a_model_is_fetched_once_and_nothing_that_runs(hub: FakeHub) -> None:
    reports: list[tuple[int, int]] = []
    name = "distil-whisper/distil-small.en"
    first = load(name, progress=lambda done, total: reports.append((done, total)))
    assert first.dims == DISTIL
    assert first.alignment_heads == ((0, 1),)
    assert sorted(path.name for path in first.source.parent.iterdir()) == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
    ]
    size = len(hub.files[name]["model.safetensors"])
    assert (size, size) in reports
    hub.requests.clear()
    assert load(name).source == first.source
    assert load(name, offline=True).source == first.source
    assert hub.requests == []


@pytest.mark.parametrize(
    "name", ["anna/shards", "anna/pickled", "anna/whisper.cpp/ggml-tiny.en.bin"]
)
def test_every_format_is_read(hub: FakeHub, name: str) -> None:
    assert load(name).dims == SMALL_DIMS
    hub.requests.clear()
    assert load(name).dims == SMALL_DIMS
    assert hub.requests == []


def test_a_revision_is_kept_to(hub: FakeHub) -> None:
    path = resolve("anna/pickled@v1")
    assert COMMITS["v1"] in str(path)
    assert COMMITS["main"] in str(resolve("anna/pickled"))
    with pytest.raises(ModelNotFoundError, match="it has no revision v9"):
        resolve("anna/pickled@v9")


def test_a_folder_may_be_chosen(hub: FakeHub, tmp_path: Path) -> None:
    path = resolve("anna/pickled", model_dir=tmp_path / "models")
    assert path.is_relative_to(tmp_path / "models")
    assert resolve("anna/pickled", model_dir=tmp_path / "models", offline=True) == path


def test_a_gated_model_needs_the_token(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gated.add("anna/pickled")
    with pytest.raises(ModelNotFoundError, match="ask for it on the hub, and set HF_TOKEN"):
        resolve("anna/pickled")
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert resolve("anna/pickled").is_dir()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("anna/absent", "the hub has no such model, or it is private"),
        ("anna/text", r"it has no model\.safetensors"),
        ("anna/whisper.cpp", r"name one of its files: anna/whisper\.cpp/ggml-base\.bin"),
        ("anna/whisper.cpp/ggml-x.bin", r"it has no file ggml-x\.bin"),
        ("anna/outside", "a file outside its folder"),
    ],
)
def test_a_wrong_name_is_an_error(hub: FakeHub, name: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        load(name)


def test_offline_is_honoured(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelNotFoundError, match="the network may not be used"):
        load("anna/pickled", offline=True)
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotFoundError, match="the network may not be used"):
        load("anna/pickled")
    assert hub.requests == []


def test_a_file_that_differs_from_its_announced_sha256_is_thrown_away(hub: FakeHub) -> None:
    hub.corrupted.add("pytorch_model.bin")
    with pytest.raises(WeightsError, match="another sha256 than the hub announced"):
        load("anna/pickled")
    hub.corrupted.clear()
    assert load("anna/pickled").dims == SMALL_DIMS


def test_a_hub_that_is_away_is_an_error(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelNotFoundError, match="the hub does not answer"):
        load("anna/pickled")


def test_without_the_package_the_extra_is_named(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(ModelNotFoundError, match=r"pip install 'maxwhisper\[hub\]'"):
        load("anna/pickled")
    assert hub.requests == []


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("openai/whisper-small", HubModel("openai/whisper-small")),
        ("a/b@refs/pr/1", HubModel("a/b", "refs/pr/1")),
        ("a/b/ggml-x.bin@v1", HubModel("a/b", "v1", "ggml-x.bin")),
        ("base", None),
        ("./a/b", None),
        ("/a/b", None),
        ("a/../b", None),
        ("a/b.pt", None),
        ("a/b c", None),
        ("here/b", None),
    ],
)
def test_names_of_a_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, model: HubModel | None
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    assert hub_model(name) == model
