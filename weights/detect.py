"""Detection of a weights file's format by its first bytes, and reading in that format.

The file's own name is ignored; in a folder, the file names of each format are looked up.
"""

import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from weights.canonical import adapter_error
from weights.checkpoint import Checkpoint
from weights.errors import WeightsError
from weights.mapped_file import MappedFile

_N_HEAD_BYTES = 64
_CTRANSLATE2_HEAD = re.compile(rb"[\x01-\x0f]\0\0\0..\w+Spec\0", re.DOTALL)
"""A small version number, then the length and name of a model specification."""
_FOLDER_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "model.bin",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_PATTERNS = ("*.pt", "*.safetensors", "ggml-*.bin")
"""Names of files by themselves."""
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")

_READERS: Mapping[str, str] = {
    "PyTorch": "weights.openai_pt",
    "CTranslate2": "weights.ctranslate2",
    "Hugging Face": "weights.huggingface",
    "GGML": "weights.ggml",
}
"""Modules whose `read` reads each format, imported on first use."""

_FOREIGN: Mapping[bytes, str] = {
    b"\x80\x02": "a PyTorch file of the kind before 1.6: load it with torch.load and save it again",
    b"GGUF": "a GGUF file; use OpenAI's, Hugging Face's, CTranslate2's or whisper.cpp's",
    b"version https://git-lfs": "a Git LFS pointer: fetch the file it points to (git lfs pull)",
    b"<": "a web page, not weights; fetch the file itself",
}


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads the Whisper weights at `path`, a file or a folder, whatever their format.

    Raises:
        WeightsError: There are none, or they are damaged, incomplete or of an unknown format.
    """
    file_path = _weights_file(path) if path.is_dir() else path
    checkpoint: Checkpoint = import_module(_READERS[format_of(file_path)]).read(file_path)
    return checkpoint


def format_of(path: Path) -> str:
    """Returns `PyTorch`, `CTranslate2`, `Hugging Face` or `GGML`, by a file's first bytes.

    Raises:
        WeightsError: The format is another; the message names it if it is known.
    """
    file = MappedFile(path)
    head = file.bytes_at(0, min(_N_HEAD_BYTES, file.n_bytes))
    if head.startswith(b"PK\x03\x04"):
        return "PyTorch"
    if head.startswith(b"lmgg"):
        return "GGML"
    if _CTRANSLATE2_HEAD.match(head):
        return "CTranslate2"
    if head[8:9] == b"{" or head.lstrip().startswith(b"{"):
        return "Hugging Face"
    foreign = next((text for magic, text in _FOREIGN.items() if head.startswith(magic)), None)
    raise WeightsError(
        f"{path}: {foreign or 'not a weights file (OpenAI .pt, CTranslate2, safetensors or GGML)'}"
    )


def is_weights(path: Path) -> bool:
    """Returns True if a file, or one in a folder, starts like weights; it may still be damaged."""
    try:
        format_of(_weights_file(path) if path.is_dir() else path)
    except WeightsError:
        return False
    return True


def _weights_file(folder: Path) -> Path:
    for name in _FOLDER_FILES:
        if (folder / name).is_file():
            return folder / name
    if any((folder / name).is_file() for name in _ADAPTER_FILES):
        raise adapter_error(folder)
    candidates = sorted(path for pattern in _PATTERNS for path in folder.glob(pattern))
    if len(candidates) == 1:
        return candidates[0]
    found = f"{len(candidates)} of them" if candidates else "none"
    raise WeightsError(
        f"{folder}: looked for {', '.join(_FOLDER_FILES)} or one of {', '.join(_PATTERNS)}, "
        f"found {found}; name the file"
    )
