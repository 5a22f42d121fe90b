"""Weights of the network for voice activity: installed, in the cache, or on the package index.

They come from the package silero-vad, which is never installed nor imported here: the file is found
beside it if it is installed, or else taken out of its pinned wheel, once.
"""

from pathlib import Path

from maxwhisper_cli.package_archive import PackageArchive, Progress, extract_member, fetch_archive
from maxwhisper_cli.speech.network import VoiceNetwork
from weights.cache import model_folder, record_sha256, set_aside, sha256_of
from weights.download import cannot_write, locked
from weights.errors import ModelNotFoundError
from weights.onnx import read_initializers
from weights.packages import file_in_package

PACKAGE = PackageArchive(
    "silero-vad",
    "6.2.3",
    "silero_vad-6.2.3-py3-none-any.whl",
    "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
)
SHA256 = "7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49"
FILE_NAME = "silero_vad_16k_op15.onnx"
_IMPORT_NAME, _MEMBER = "silero_vad", f"data/{FILE_NAME}"


def load_network(
    model_dir: Path | None = None, *, offline: bool = False, progress: Progress | None = None
) -> VoiceNetwork:
    """Finds or fetches the network's file, and reads it.

    Args:
        model_dir: Folder of weights, instead of the cache.
        offline: Never use the network.
        progress: Called while the package is fetched.

    Raises:
        ModelNotFoundError: The file is not here, and may not be fetched.
        PackageArchiveError: The package cannot be fetched, or is not the pinned one.
        WeightsError: The file cannot be stored or read.
    """
    path = network_file(model_dir, offline=offline, progress=progress)
    return VoiceNetwork(read_initializers(path))


def network_file(
    model_dir: Path | None = None, *, offline: bool = False, progress: Progress | None = None
) -> Path:
    """Returns the network's file, checked; arguments and errors are those of `load_network`."""
    path = model_folder(model_dir) / FILE_NAME
    for candidate in (path, file_in_package(_IMPORT_NAME, _MEMBER)):
        if candidate is not None and candidate.is_file() and sha256_of(candidate) == SHA256:
            return candidate
    if offline:
        raise ModelNotFoundError(
            f"voice activity detection needs {FILE_NAME} of {PACKAGE.package} {PACKAGE.version}, "
            f"which is not here and may not be fetched (offline): run it once online, or put the "
            f"file at {path}"
        )
    _fetch(path, progress)
    return path


def _fetch(path: Path, progress: Progress | None) -> None:
    """Fetches the package, takes the file out of it, and removes the package."""
    try:
        with locked(path):
            if path.is_file() and sha256_of(path) == SHA256:  # another process has fetched it
                return
            set_aside(path)
            archive = fetch_archive(PACKAGE, path.parent, progress)
            extract_member(archive, f"{_IMPORT_NAME}/{_MEMBER}", path, SHA256)
            record_sha256(path, SHA256)
            archive.unlink()
    except OSError as error:
        raise cannot_write(path, error) from error
