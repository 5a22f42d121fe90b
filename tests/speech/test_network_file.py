"""The network's file: fetched once out of its package, found again, and checked each time."""

import hashlib
import io
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from maxwhisper_cli.cache_contents import contents_of
from maxwhisper_cli.package_archive import PackageArchive, PackageArchiveError, Progress
from maxwhisper_cli.speech import network_file as module
from maxwhisper_cli.speech.network_file import FILE_NAME, network_file
from maxwhisper_cli.speech.network_loader import NetworkLoader
from weights.errors import ModelNotFoundError, WeightsError

CONTENT = b"a network" * 1000


class Packages:
    """Stand-in for the package index, which counts what is fetched from it."""

    def __init__(self, content: bytes, member: str = f"silero_vad/data/{FILE_NAME}") -> None:
        wheel = io.BytesIO()
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(member, content)
        self.wheel = wheel.getvalue()
        self.n_fetched = 0

    def fetch(self, archive: PackageArchive, folder: Path, progress: Progress | None) -> Path:
        self.n_fetched += 1
        path = folder / archive.file
        path.write_bytes(self.wheel)
        if progress is not None:
            progress(archive.file, len(self.wheel), len(self.wheel))
        return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The cache's folder of models, without the package installed."""
    monkeypatch.setenv("MAXWHISPER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "SHA256", hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setattr(module, "_IMPORT_NAME", "silero_vad")
    yield tmp_path / "cache" / "models"
    assert "silero_vad" not in sys.modules  # it is never imported


def offer(monkeypatch: pytest.MonkeyPatch, packages: Packages) -> Packages:
    monkeypatch.setattr(module, "fetch_archive", packages.fetch)
    return packages


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> Packages:
    return offer(monkeypatch, Packages(CONTENT))


def test_the_pinned_file_is_what_the_package_holds() -> None:
    path = network_file()  # checked against the pinned sha256
    assert path.stat().st_size == 1_289_603
    assert not (path.parent / module.PACKAGE.file).exists()


def test_fetched_once(folder: Path, packages: Packages) -> None:
    seen: list[str] = []
    path = network_file(progress=lambda name, *_: seen.append(name))
    assert path == folder / FILE_NAME
    assert path.read_bytes() == CONTENT
    assert seen == [module.PACKAGE.file]
    assert network_file(offline=True) == path
    assert packages.n_fetched == 1
    assert sorted(each.suffix for each in folder.iterdir()) == [".lock", ".onnx"]


def test_a_folder_of_weights(folder: Path, packages: Packages, tmp_path: Path) -> None:
    assert network_file(tmp_path / "own") == tmp_path / "own" / FILE_NAME
    assert not folder.exists()
    assert network_file(tmp_path / "own", offline=True).is_file()
    assert packages.n_fetched == 1


def test_offline(folder: Path, packages: Packages) -> None:
    with pytest.raises(ModelNotFoundError, match=r"silero-vad 6\.2\.3, .* run it once online"):
        network_file(offline=True)
    assert packages.n_fetched == 0
    assert not folder.exists()


def test_a_damaged_file_is_set_aside_and_fetched_again(folder: Path, packages: Packages) -> None:
    folder.mkdir(parents=True)
    (folder / FILE_NAME).write_bytes(b"damaged")
    with pytest.raises(ModelNotFoundError):
        network_file(offline=True)
    assert network_file().read_bytes() == CONTENT
    assert (folder / f"{FILE_NAME}.old1").read_bytes() == b"damaged"
    assert packages.n_fetched == 1


def test_the_installed_package_is_used(
    folder: Path, packages: Packages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "site" / "silero_vad" / "data"
    installed.mkdir(parents=True)
    (installed.parent / "__init__.py").write_text("raise SystemExit('imported')")
    (installed / FILE_NAME).write_bytes(CONTENT)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert network_file(offline=True) == installed / FILE_NAME
    (installed / FILE_NAME).write_bytes(b"of another version")
    assert network_file() == folder / FILE_NAME


def test_another_content_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, Packages(b"another"))
    with pytest.raises(PackageArchiveError, match="another sha256 than the pinned one"):
        network_file()
    assert not (folder / FILE_NAME).exists()


def test_a_package_without_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, Packages(CONTENT, member="silero_vad/other.onnx"))
    with pytest.raises(PackageArchiveError, match=f"has no file silero_vad/data/{FILE_NAME}"):
        network_file()
    assert not (folder / FILE_NAME).exists()


def test_a_folder_that_cannot_be_written(folder: Path, packages: Packages, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(WeightsError, match="choose another folder with --model-dir"):
        network_file()


def test_damaged_numbers_are_refused(
    folder: Path, packages: Packages, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WeightsError, match="not an ONNX file"):  # CONTENT is none
        NetworkLoader().network()
    with pytest.raises(WeightsError, match="not an ONNX file"):
        NetworkLoader(is_offline=True).network()


def test_the_cache_knows_the_file(folder: Path, packages: Packages) -> None:
    path = network_file()
    assert contents_of(("models",)).others == ()
    path.write_bytes(b"another")
    assert contents_of(("models",)).others == (path,)


def test_the_network_is_loaded_once() -> None:
    loader = NetworkLoader()
    assert loader.network() is loader.network()
