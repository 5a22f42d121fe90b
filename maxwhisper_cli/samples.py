"""Recordings with known text, fetched into the cache folder.

The manifest in `audio_samples/` names each recording's origin; `package_archive` fetches it. A
cached sample needs no network. Samples made of others (another sample rate, several in a row) are
made here.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

import numpy as np

from maxwhisper_cli.package_archive import (
    PackageArchive,
    Progress,
    extract_member,
    fetch_archive,
)
from weights.cache import cache_root, set_aside, sha256_of
from weights.errors import MaxWhisperError


class SampleError(MaxWhisperError):
    """A sample does not exist, or cannot be stored."""


@dataclass(frozen=True, slots=True)
class SampleSource:
    """Source archive of a recording, and its path in it."""

    archive: PackageArchive
    member: str
    sha256: str
    text_members: tuple[str, ...] = ()
    """Files of the archive that hold the text, in order."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One recording, with its format, language, licence and origin."""

    name: str
    file: str
    language: str
    seconds: float
    sample_rate: int
    n_channels: int
    about: str
    licence: str
    source: SampleSource | None = None
    """Origin; None for a sample made of others."""
    pieces: tuple[str, ...] = ()
    """Names of the samples that it is made of, with half a second of silence between them."""
    text: str | None = None
    """Text, if the manifest has it; `reference_text` returns it for every sample."""


def load_manifest() -> list[Sample]:
    """Returns every sample, in the order of the manifest."""
    # In a checkout the folder is beside the package, in a wheel within it.
    beside = Path(__file__).parent.parent / "audio_samples" / "manifest.json"
    inside = files("maxwhisper_cli") / "audio_samples" / "manifest.json"
    text = (beside if beside.is_file() else inside).read_text(encoding="utf-8")
    return [_sample(**entry) for entry in json.loads(text)["samples"]]


def samples_folder() -> Path:
    """Returns the folder for fetched samples (not created here)."""
    return cache_root() / "samples"


def fetch_samples(
    names: Iterable[str] | None = None, progress: Progress | None = None
) -> dict[str, Path]:
    """Fetches the samples that are not in the cache folder yet, with their text.

    Args:
        names: Names of samples; all of them when None.
        progress: Called while an archive is fetched.

    Returns:
        `{name: path}` in the order of `names`; beside each path is a `.txt` file with the text.

    Raises:
        SampleError: There is no sample of that name, or the cache folder cannot be written.
        PackageArchiveError: An archive cannot be fetched, or is not the pinned one.
    """
    manifest = {sample.name: sample for sample in load_manifest()}
    requested = [_find(name, manifest) for name in (manifest if names is None else names)]
    folder = samples_folder()
    try:
        if not all(_is_cached(sample, folder) for sample in requested):
            _fetch_missing(requested, manifest, progress)
    except OSError as error:
        raise SampleError(
            f"samples cannot be stored in {folder} ({error}): "
            "set MAXWHISPER_CACHE to another folder"
        ) from error
    return {sample.name: folder / sample.file for sample in requested}


def reference_text(sample: Sample) -> str:
    """Returns the text of a sample that has been fetched."""
    return (samples_folder() / sample.file).with_suffix(".txt").read_text("utf-8").strip()


def _sample(**entry: object) -> Sample:
    source = entry.pop("source", None)
    if isinstance(source, dict):
        entry["source"] = SampleSource(
            PackageArchive(
                source["package"], source["version"], source["archive"], source["archive_sha256"]
            ),
            source["member"],
            source["member_sha256"],
            tuple(source.get("text_members", ())),
        )
    pieces = entry.pop("pieces", ())
    assert isinstance(pieces, list | tuple)
    return Sample(**entry, pieces=tuple(pieces))  # type: ignore[arg-type]


def _find(name: str, manifest: dict[str, Sample]) -> Sample:
    if name not in manifest:
        nearest = get_close_matches(name, manifest, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"choose from {', '.join(manifest)}"
        raise SampleError(f"there is no sample {name!r}: {hint}")
    return manifest[name]


def _is_cached(sample: Sample, folder: Path) -> bool:
    path = folder / sample.file
    if not path.is_file() or not path.with_suffix(".txt").is_file():
        return False
    return sample.source is None or sha256_of(path) == sample.source.sha256


def _fetch_missing(
    requested: list[Sample], manifest: dict[str, Sample], progress: Progress | None
) -> None:
    from filelock import FileLock

    folder = samples_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        needed = [*requested, *(manifest[name] for sample in requested for name in sample.pieces)]
        missing = {sample.name: sample for sample in needed if not _is_cached(sample, folder)}
        archives = {sample.source.archive for sample in missing.values() if sample.source}
        for archive in sorted(archives, key=lambda archive: archive.file):
            path = fetch_archive(archive, folder, progress)
            for sample in missing.values():
                if sample.source is not None and sample.source.archive == archive:
                    _unpack(sample, sample.source, path, folder)
            path.unlink()
        for sample in missing.values():
            if sample.pieces:
                _make(sample, [manifest[name] for name in sample.pieces], folder)


def _unpack(sample: Sample, source: SampleSource, archive: Path, folder: Path) -> None:
    path = folder / sample.file
    text = sample.text
    if text is None:
        scratch = path.with_suffix(".words")
        words = []
        for member in source.text_members:
            extract_member(archive, member, scratch)
            words.append(scratch.read_text("utf-8").strip())
        scratch.unlink(missing_ok=True)
        text = " ".join(words)
    _write_words(path.with_suffix(".txt"), text)
    set_aside(path)
    extract_member(archive, source.member, path, source.sha256)


def _write_words(path: Path, text: str) -> None:
    """Writes a sample's words; words that somebody corrected are kept beside them."""
    if path.is_file() and path.read_bytes() != f"{text}\n".encode():
        set_aside(path)
    path.write_text(f"{text}\n", encoding="utf-8")


def _make(sample: Sample, pieces: list[Sample], folder: Path) -> None:
    """Joins samples into one mono 16-bit wav at the sample rate of `sample`."""
    import soundfile
    import soxr

    from maxwhisper_cli.audio.reader import SAMPLE_RATE, open_audio

    pause = np.zeros(SAMPLE_RATE // 2, np.float32)
    sound: list[np.ndarray] = []
    for piece in pieces:
        with open_audio(folder / piece.file) as audio:
            sound += [pause, audio.read()] if sound else [audio.read()]
    samples = soxr.resample(np.concatenate(sound), SAMPLE_RATE, sample.sample_rate)
    path = folder / sample.file
    _write_words(path.with_suffix(".txt"), " ".join(reference_text(piece) for piece in pieces))
    set_aside(path)
    part = path.with_name(f"{path.name}.part")
    soundfile.write(part, samples, sample.sample_rate, subtype="PCM_16", format="WAV")
    part.replace(path)
