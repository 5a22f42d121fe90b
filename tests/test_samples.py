"""The samples: their manifest, and fetching them from an index served on this machine."""

import gzip
import hashlib
import io
import re
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile

from maxwhisper_cli import package_archive, samples
from maxwhisper_cli.audio.reader import open_audio
from maxwhisper_cli.package_archive import (
    PackageArchive,
    PackageArchiveError,
    extract_member,
    fetch_archive,
)
from maxwhisper_cli.samples import SampleError, fetch_samples, load_manifest, reference_text
from tests.support.sound import tone

CONTENT = np.random.default_rng(0).bytes(300_000)


def packed(members: dict[str, bytes]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("demo-1.0/link.wav")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return gzip.compress(raw.getvalue(), mtime=0)


@dataclass
class Index:
    """A package index on this machine that remembers what it was asked."""

    archive: bytes
    cut_after: int | None = None
    """Break the connection once after this many bytes."""
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    def __init__(self, index: Index, *args: object) -> None:
        self.index = index
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.index.requests.append((self.path, wanted))
        if self.path == "/simple/demo/":
            page = b'<a href="/files/demo-1.0.tar.gz">demo-1.0.tar.gz</a>'
            self.answer(200, page, "text/html")
        elif self.path == "/files/demo-1.0.tar.gz":
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            if start >= len(self.index.archive):
                self.answer(416, b"", "text/plain")
            else:
                status = 206 if wanted else 200
                self.answer(status, self.index.archive[start:], "application/gzip")
        else:
            self.answer(404, b"", "text/plain")

    def answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if status == 206:
            n_all = len(self.index.archive)
            self.send_header("Content-Range", f"bytes {n_all - len(body)}-{n_all - 1}/{n_all}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.index.cut_after is not None and kind == "application/gzip":
            body, self.index.cut_after = body[: self.index.cut_after], None
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """Serves an index, and set pip to it alone."""
    sound = io.BytesIO()
    soundfile.write(sound, tone(440, 1.0, 44100), 44100, format="WAV")
    index = Index(
        packed(
            {
                "demo-1.0/a.bin": CONTENT,
                "demo-1.0/a.wav": sound.getvalue(),
                "demo-1.0/a.lab": "què tal\n".encode(),
            }
        )
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, index))
    index.url = f"http://127.0.0.1:{server.server_port}/simple"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setattr(package_archive, "_pip_settings", lambda: {"index-url": [index.url]})
    yield index
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAXWHISPER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "samples"


def archive_of(index: Index) -> PackageArchive:
    sha256 = hashlib.sha256(index.archive).hexdigest()
    return PackageArchive("demo", "1.0", "demo-1.0.tar.gz", sha256)


def n_downloads(index: Index) -> int:
    return sum(path.startswith("/files/") for path, _ in index.requests)


def test_manifest_is_sound() -> None:
    manifest = {sample.name: sample for sample in load_manifest()}
    assert {"jfk", "sonnet", "spanish", "two-channels", "telephone", "long"} <= set(manifest)
    for sample in manifest.values():
        assert (sample.source is None) == bool(sample.pieces)
        assert all(manifest[piece].source for piece in sample.pieces)
        if sample.source is not None:
            assert sample.text or sample.source.text_members
            for digest in (sample.source.sha256, sample.source.archive.sha256):
                assert re.fullmatch("[0-9a-f]{64}", digest)
            assert sample.source.archive.version in sample.source.archive.file


def test_readme_describes_every_sample() -> None:
    readme = (Path(__file__).parent.parent / "audio_samples" / "README.md").read_text("utf-8")
    for sample in load_manifest():
        assert f"| {sample.name} |" in readme


def test_samples_equal_the_manifest() -> None:
    for name, path in fetch_samples().items():
        sample = next(sample for sample in load_manifest() if sample.name == name)
        with open_audio(path) as audio:
            n_samples = sum(len(block) for block in audio)
        assert audio.warnings == []
        assert n_samples / 16000 == pytest.approx(sample.seconds, abs=0.01)
        assert (audio.sample_rate, audio.n_channels) == (sample.sample_rate, sample.n_channels)
        assert len(reference_text(sample)) > 20


def test_nothing_is_asked_of_the_network_once_here(
    jfk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "fetch_archive", lambda *_: pytest.fail("asked the network"))
    assert fetch_samples(["jfk"]) == {"jfk": jfk}


def test_unknown_sample() -> None:
    with pytest.raises(SampleError, match="no sample 'sonett': did you mean 'sonnet'"):
        fetch_samples(["sonett"])


def test_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MAXWHISPER_CACHE", str(tmp_path / "file"))
    with pytest.raises(SampleError, match="set MAXWHISPER_CACHE"):
        fetch_samples(["jfk"])


def test_download(index: Index, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    path = fetch_archive(archive_of(index), tmp_path, lambda *step: seen.append(step))
    assert path.read_bytes() == index.archive
    assert seen[-1] == ("demo-1.0.tar.gz", len(index.archive), len(index.archive))
    fetch_archive(archive_of(index), tmp_path)
    assert n_downloads(index) == 1


def test_resumes_where_it_was_cut(index: Index, tmp_path: Path) -> None:
    index.cut_after = 100_000
    assert fetch_archive(archive_of(index), tmp_path).read_bytes() == index.archive
    assert index.requests[-1] == ("/files/demo-1.0.tar.gz", "bytes=100000-")


def test_a_damaged_part_is_fetched_afresh(index: Index, tmp_path: Path) -> None:
    (tmp_path / "demo-1.0.tar.gz.part").write_bytes(b"damaged")
    assert fetch_archive(archive_of(index), tmp_path).read_bytes() == index.archive
    (tmp_path / "demo-1.0.tar.gz").write_bytes(b"damaged")
    assert fetch_archive(archive_of(index), tmp_path).read_bytes() == index.archive


def test_complete_part_is_used(index: Index, tmp_path: Path) -> None:
    (tmp_path / "demo-1.0.tar.gz.part").write_bytes(index.archive)
    assert fetch_archive(archive_of(index), tmp_path).read_bytes() == index.archive


def test_another_content_is_refused(index: Index, tmp_path: Path) -> None:
    pinned = PackageArchive("demo", "1.0", "demo-1.0.tar.gz", "0" * 64)
    with pytest.raises(PackageArchiveError, match="has sha256"):
        fetch_archive(pinned, tmp_path)
    assert not (tmp_path / "demo-1.0.tar.gz").exists()


def test_an_index_without_it(index: Index, tmp_path: Path) -> None:
    with pytest.raises(PackageArchiveError, match=r"has no other-1.0.tar.gz"):
        fetch_archive(PackageArchive("other", "1.0", "other-1.0.tar.gz", "0" * 64), tmp_path)


def test_an_index_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"index-url": ["http://127.0.0.1:9/simple"]}
    monkeypatch.setattr(package_archive, "_pip_settings", lambda: settings)
    with pytest.raises(PackageArchiveError, match="does not answer"):
        fetch_archive(PackageArchive("demo", "1.0", "demo-1.0.tar.gz", "0" * 64), tmp_path)


def test_the_next_index_is_asked(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources: list[tuple[list[str], list[str]]] = [
        (["http://127.0.0.1:9/simple"], []),
        ([index.url], []),
    ]
    monkeypatch.setattr(package_archive, "_pip_sources", lambda: iter(sources))
    assert fetch_archive(archive_of(index), tmp_path).read_bytes() == index.archive


def test_a_local_folder_of_archives(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "demo-1.0.tar.gz").write_bytes(index.archive)
    settings = {"no-index": ["1"], "find-links": [str(tmp_path / "links")]}
    monkeypatch.setattr(package_archive, "_pip_settings", lambda: settings)
    path = fetch_archive(archive_of(index), tmp_path / "cache")
    assert path.read_bytes() == index.archive
    assert index.requests == []


def test_pip_settings_come_from_pip_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nindex-url = http://a/simple\nextra-index-url =\n  b\n  c\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    settings = package_archive._pip_settings()
    assert settings["index-url"] == ["http://a/simple"]
    assert settings["extra-index-url"] == ["b", "c"]
    monkeypatch.setenv("PIP_INDEX_URL", "http://d/simple")
    assert package_archive._pip_settings()["index-url"] == ["http://d/simple"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [([], [])]),
        ({"index-url": ["a"]}, [(["a"], [])]),
        ({"index-url": ["a"], "extra-index-url": ["b"]}, [(["a", "b"], [])]),
        ({"extra-index-url": ["b"], "find-links": ["f"]}, [([], []), (["b"], ["f"])]),
        ({"no-index": ["true"], "index-url": ["a"], "find-links": ["f"]}, [([], ["f"])]),
        ({"no-index": ["1"]}, []),
    ],
)
def test_where_to_look(
    settings: dict[str, list[str]], expected: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package_archive, "_pip_settings", lambda: settings)
    assert list(package_archive._pip_sources()) == expected


def test_extract(index: Index, tmp_path: Path) -> None:
    archive, target = tmp_path / "a.tar.gz", tmp_path / "out.bin"
    archive.write_bytes(index.archive)
    extract_member(archive, "demo-1.0/a.bin", target, hashlib.sha256(CONTENT).hexdigest())
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("member", ["demo-1.0/none.bin", "demo-1.0/link.wav", "demo-1.0"])
def test_extract_only_regular_files(index: Index, tmp_path: Path, member: str) -> None:
    archive, target = tmp_path / "a.tar.gz", tmp_path / "out.bin"
    archive.write_bytes(index.archive)
    with pytest.raises(PackageArchiveError, match="has no file"):
        extract_member(archive, member, target)
    assert not target.exists()


def test_extract_checks_the_member(index: Index, tmp_path: Path) -> None:
    archive, target = tmp_path / "a.tar.gz", tmp_path / "out.bin"
    archive.write_bytes(index.archive)
    with pytest.raises(PackageArchiveError, match="another sha256"):
        extract_member(archive, "demo-1.0/a.bin", target, "0" * 64)
    assert list(tmp_path.iterdir()) == [archive]


def test_fetch_unpack_and_make(index: Index, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tarfile.open(fileobj=io.BytesIO(index.archive)) as tar:
        sound = tar.extractfile("demo-1.0/a.wav")
        assert sound is not None
        sha256 = hashlib.sha256(sound.read()).hexdigest()
    source = samples.SampleSource(
        archive_of(index), "demo-1.0/a.wav", sha256, ("demo-1.0/a.lab", "demo-1.0/a.lab")
    )
    one = samples.Sample(
        name="one",
        file="one.wav",
        language="ca",
        seconds=1.0,
        sample_rate=44100,
        n_channels=1,
        about="a tone",
        licence="none",
        source=source,
    )
    two = replace(
        one,
        name="two",
        file="two.wav",
        seconds=2.5,
        sample_rate=8000,
        source=None,
        pieces=("one", "one"),
    )
    monkeypatch.setattr(samples, "load_manifest", lambda: [one, two])
    paths = fetch_samples(["two"])
    assert paths == {"two": cache / "two.wav"}
    info = soundfile.info(cache / "two.wav")
    assert (info.samplerate, info.channels, info.duration) == (8000, 1, 2.5)
    assert reference_text(one) == "què tal què tal"
    assert reference_text(two) == "què tal què tal què tal què tal"
    left = {path.name for path in cache.iterdir() if not path.name.endswith(".lock")}
    assert left == {"one.wav", "one.txt", "two.wav", "two.txt"}
    (cache / "one.wav").write_bytes(b"damaged")
    fetch_samples(["one"])
    assert n_downloads(index) == 2
    fetch_samples()
    assert n_downloads(index) == 2
