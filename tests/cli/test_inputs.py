"""`maxwhisper transcribe` with folders, lists, manifests and addresses."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import FakeModels, MakeSound, RunCommandLine, names
from tests.inputs.conftest import Page, Server, own_cache, server

__all__ = ["own_cache", "server"]
TEXT = "Grüße, 世界.\n"


def files_in(folder: str) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*.*[a-z]")
                  if p.is_file() and not p.name.startswith("."))  # fmt: skip


def test_a_folder_keeps_its_tree(
    maxwhisper: RunCommandLine, sound: MakeSound, tmp_path: Path
) -> None:
    for name in ("talks/a.wav", "talks/x/a.wav", "talks/y/a.wav"):
        sound(name)
    done = maxwhisper("transcribe", tmp_path / "talks", "-f", "txt", "-o", "out")
    assert (done.exit_code, files_in("out")) == (0, ["a.txt"])
    done = maxwhisper("transcribe", tmp_path / "talks", "--recursive", "-f", "txt", "-o", "tree")
    assert (done.exit_code, files_in("tree")) == (0, ["a.txt", "x/a.txt", "y/a.txt"])


def test_files_of_equal_names_are_kept_apart(maxwhisper: RunCommandLine, sound: MakeSound) -> None:
    given = sound("x/a.wav"), sound("y/a.wav"), sound("y/a.mp3")
    done = maxwhisper("transcribe", *given, "-f", "txt", "-o", "out")
    assert (done.exit_code, files_in("out")) == (0, ["x/a.txt", "y/a.mp3.txt", "y/a.wav.txt"])


def test_outputs_beside_the_inputs_never_replace_one(
    maxwhisper: RunCommandLine, sound: MakeSound, tmp_path: Path
) -> None:
    other = sound("talks/a.txt")
    before = other.read_bytes()
    folder = tmp_path / "talks"
    done = maxwhisper("transcribe", other, sound("b.wav"), "-f", "txt", "-o", folder)
    assert done.exit_code == 2
    assert "would replace the input" in done.stderr
    assert other.read_bytes() == before


def test_a_manifest_chooses_excerpts_and_carries_its_fields(
    maxwhisper: RunCommandLine, sound: MakeSound, tmp_path: Path
) -> None:
    sound("a.wav", 70)
    entries = [
        {"audio_filepath": "a.wav", "offset": 60, "duration": 5, "id": "end", "text": "said"},
        {"audio_filepath": "a.wav", "duration": 70, "speaker": {"name": "Anna"}},
    ]
    manifest = tmp_path / "in.jsonl"
    manifest.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    done = maxwhisper("transcribe", "--manifest", manifest, "--jsonl", "--batch-size", "1")
    assert done.exit_code == 0
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["id"], first["manifest_text"]) == ("end", "said")
    assert (first["manifest_duration"], first["duration"]) == (5, 5.0)
    assert [(each["start"], each["end"]) for each in first["segments"]] == [(60.0, 61.0)]
    assert second["speaker"] == {"name": "Anna"}
    assert [each["start"] for each in second["segments"]] == [0.0, 30.0, 60.0]
    done = maxwhisper("transcribe", "--manifest", manifest, "-f", "srt", "-o", "out")
    assert (done.exit_code, files_in("out")) == (0, ["a.srt", "end.srt"])
    assert "00:01:00,000 --> 00:01:01,000" in Path("out/end.srt").read_text(encoding="utf-8")


def test_an_excerpt_beyond_the_end_is_empty_with_a_warning(
    maxwhisper: RunCommandLine, sound: MakeSound, tmp_path: Path
) -> None:
    entry = {"audio_filepath": str(sound("a.wav", 2)), "offset": 60, "duration": 5}
    (tmp_path / "in.jsonl").write_text(json.dumps(entry))
    done = maxwhisper("transcribe", "--manifest", tmp_path / "in.jsonl", "-f", "txt")
    assert (done.exit_code, Path("a-60.00.txt").read_text()) == (0, "")
    assert "ends at 2.00 s, before its excerpt begins" in done.stderr


def test_the_language_of_a_manifest_holds_for_its_recording(
    maxwhisper: RunCommandLine, sound: MakeSound, models: FakeModels, tmp_path: Path
) -> None:
    from dataclasses import replace

    models.dims = replace(models.dims, n_vocab=51865)
    lines = [
        json.dumps({"audio_filepath": str(sound("a.wav")), "language": "Spanish"}),
        json.dumps({"audio_filepath": str(sound("b.wav"))}),
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    done = maxwhisper(
        "transcribe", "--manifest", tmp_path / "in.jsonl", "--language", "de", "--jsonl"
    )
    assert done.exit_code == 0
    assert [json.loads(line)["language"] for line in done.stdout.splitlines()] == ["es", "de"]


def test_an_address_is_fetched(
    maxwhisper: RunCommandLine, sound: MakeSound, server: Server
) -> None:
    content = sound("a.wav", 3).read_bytes()
    server.pages["/talks/day%201.wav?key=3"] = Page(content, cut_after=[5000])
    url = server.url("/talks/day%201.wav?key=3")
    refused = maxwhisper("transcribe", url)
    assert (refused.exit_code, names(Path())) == (1, [])
    assert "127.0.0.1 is no public address; --allow-private" in refused.stderr
    assert server.requests == []
    both = maxwhisper("transcribe", url, "s3:///x.wav")
    assert "failed: cannot be fetched" in both.stderr
    done = maxwhisper("transcribe", url, sound("b.wav"), "--allow-private", "-f", "txt")
    assert done.exit_code == 0
    assert names(Path()) == ["b.txt", "day_1.txt"]
    assert "day_1.wav: English, 0:03 of audio" in done.stderr


def test_an_address_that_is_no_sound_is_named(maxwhisper: RunCommandLine, server: Server) -> None:
    server.pages["/a.wav"] = Page(b"this is not sound")
    done = maxwhisper("transcribe", server.url("/a.wav"), "--allow-private")
    assert (done.exit_code, names(Path())) == (1, [])
    assert done.stderr.startswith("error: a.wav")
    assert "inputs/" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "name recordings, folders or addresses, or give --manifest"),
        (("--manifest", "gone.jsonl"), 1, "the manifest gone.jsonl cannot be read"),
        (("s3://bucket/a.wav",), 1, "s3://bucket/a.wav needs a package: pip install s3fs"),
        (("nothing://a.wav",), 1, "there is nothing that opens nothing://"),
        (("https://example.org/a.wav", "--offline"), 1, "which --offline forbids"),
        (("-", "--resume", "--force"), 2, "give one"),
        (("-", "--resume", "-o", "-", "-f", "txt"), 2, "--resume needs outputs in files"),
        (("a.wav", "./a.wav"), 2, "is given more than once"),
    ],
)
def test_what_cannot_be(
    maxwhisper: RunCommandLine, arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = maxwhisper("transcribe", "-q", *arguments)
    assert (done.exit_code, message in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


def test_local_addresses_and_memory_are_read(maxwhisper: RunCommandLine, sound: MakeSound) -> None:
    fsspec = pytest.importorskip("fsspec", reason="fsspec is installed by those who need it")
    with fsspec.open("memory://talks/m.wav", "wb") as file:
        file.write(sound("a.wav").read_bytes())
    done = maxwhisper("transcribe", sound("a.wav").as_uri(), "memory://talks/*.wav", "-f", "txt")
    assert (done.exit_code, names(Path())) == (0, ["a.txt", "m.txt"])


def test_a_feed_is_its_episodes(
    maxwhisper: RunCommandLine, sound: MakeSound, server: Server
) -> None:
    pytest.importorskip("feedparser", reason="the extra feeds is not installed")
    items = "".join(
        f'<item><title>Day {number}</title><enclosure url="{server.url(f"/{number}.wav")}" '
        'type="audio/wav"/></item>'
        for number in (3, 2, 1)
    )
    feed = f"<rss version='2.0'><channel>{items}<item><title>text</title></item></channel></rss>"
    server.pages["/feed"] = Page(feed.encode(), "application/rss+xml")
    for number in (1, 2, 3):
        server.pages[f"/{number}.wav"] = Page(sound(f"{number}.wav").read_bytes())
    address = f"feed:{server.url('/feed')}"
    done = maxwhisper("transcribe", address, "--newest", "2", "--allow-private", "-f", "txt")
    assert (done.exit_code, names(Path())) == (0, ["Day 2.txt", "Day 3.txt"])
    wrong = maxwhisper("transcribe", server.url("/feed"), "--allow-private")
    assert f"write {address} for its episodes" in wrong.stderr
