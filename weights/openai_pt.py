"""Reader of PyTorch's files (`.pt`, `.bin`): OpenAI's checkpoints, and bare state dicts."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from weights.assembly import assemble
from weights.canonical import to_canonical
from weights.checkpoint import Array, Checkpoint
from weights.errors import WeightsError
from weights.huggingface import assemble_with_config
from weights.torch_archive import read_archive

_HUGGINGFACE_SUFFIX = ".bin"


def read(path: Path) -> Checkpoint:
    """Reads `path`, a file written by `torch.save`.

    It holds either OpenAI's `{"dims": ..., "model_state_dict": ...}` or a state dict alone, under
    OpenAI's or Hugging Face's names. Beside a `.bin` file lies Hugging Face's configuration.

    Raises:
        WeightsError: It is damaged, holds more than weights, or is not a complete Whisper model.
    """
    tensors, others = read_archive(path)
    if path.suffix == _HUGGINGFACE_SUFFIX and not others:
        return assemble_with_config(path, tensors)
    return _assemble(path, to_canonical(path, tensors), others.get("dims") if others else {})


def _assemble(path: Path, tensors: Mapping[str, Array], header: object) -> Checkpoint:
    """Builds the checkpoint, and requires the sizes in the file to be those of its tensors."""
    if not isinstance(header, dict) or not all(isinstance(size, int) for size in header.values()):
        raise WeightsError(f"{path}: its dims are not a table of sizes")
    checkpoint = assemble(
        path,
        tensors,
        n_audio_head=header.get("n_audio_head"),
        n_text_head=header.get("n_text_head"),
    )
    sizes = asdict(checkpoint.dims)
    wrong = [
        f"{name} {header[name]}" for name in sizes if header.get(name, sizes[name]) != sizes[name]
    ]
    if wrong:
        raise WeightsError(f"{path}: its dims ({', '.join(wrong)}) are not those of its tensors")
    return checkpoint
