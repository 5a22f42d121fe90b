"""Detection of a model's vocabulary, and removal of tokens that were added to it.

Whisper has three: 51864 tokens (English-only), 51865 (multilingual) and 51866 (from large-v3 on).
Fine-tuning with added tokens, and padding, leave an embedding of more rows, which by its size alone
may look like another vocabulary. Files beside the weights tell; so do the tensors of a named model.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from weights.assembly import assemble, default_alignment_heads, fingerprint, read_json_value
from weights.checkpoint import Checkpoint
from weights.dims import ModelDimensions
from weights.errors import WeightsError
from weights.models import NAMED_MODELS
from weights.whole_number import whole_number

_EMBEDDING = "decoder.token_embedding.weight"
_SIZES = frozenset({51864, 51865, 51866})
_SIZES_BY_MELS: Mapping[int, frozenset[int]] = {
    80: frozenset({51864, 51865}),
    128: frozenset({51866}),
}
"""Sizes of the published models by their mel bands."""
_NO_TIMESTAMPS = "<|notimestamps|>"
_N_TOKENS_AFTER_IT = 1501
"""Timestamps, from <|0.00|> to <|30.00|>, which end each vocabulary."""
_START_OF_ENGLISH_ONLY, _START_OF_OTHERS = 50257, 50258


def with_whisper_vocabulary(checkpoint: Checkpoint) -> Checkpoint:
    """Returns the checkpoint with the embedding of exactly one of Whisper's vocabularies.

    Rows after it belong to tokens that were added, or are padding; they are cut off, with a note.

    Raises:
        WeightsError: The vocabulary is none of Whisper's, or nothing tells which it is.
    """
    dims = checkpoint.dims
    size = _size_of(checkpoint)
    if size == dims.n_vocab:
        return checkpoint
    if size > dims.n_vocab:
        raise WeightsError(
            f"{checkpoint.source}: the files beside it tell of {size} tokens, and its embedding "
            f"has {dims.n_vocab}; fetch or copy it again"
        )
    tensors = {**checkpoint.tensors, _EMBEDDING: checkpoint.tensors[_EMBEDDING][:size]}
    heads = checkpoint.alignment_heads
    cut = assemble(
        checkpoint.source,
        tensors,
        n_audio_head=dims.n_audio_head,
        n_text_head=dims.n_text_head,
        alignment_heads=None if heads == default_alignment_heads(dims) else heads,
    )
    note = (
        f"{checkpoint.source}: the {dims.n_vocab - size} tokens after Whisper's {size} are unused"
    )
    return replace(cut, notes=(*checkpoint.notes, note))


def _size_of(checkpoint: Checkpoint) -> int:
    """Returns the number of tokens of the model's vocabulary."""
    dims, source = checkpoint.dims, checkpoint.source
    if checkpoint.model_name is not None:
        return dims.n_vocab
    is_alone = checkpoint.has_vocabulary or source.suffix == ".pt"
    declared = iter(()) if is_alone else _declared_by_files(source.parent, dims)
    for name, size in declared:
        if size not in _SIZES:
            raise WeightsError(
                f"{source}: {name} beside it has a vocabulary that is none of Whisper's"
            )
        return size
    named = _size_of_named(checkpoint)
    if named is not None:
        return named
    if dims.n_vocab in _SIZES_BY_MELS.get(dims.n_mels, ()):
        return dims.n_vocab
    sizes = ", ".join(map(str, sorted(_SIZES)))
    raise WeightsError(
        f"{source}: {dims.n_vocab} tokens with {dims.n_mels} mel bands are no vocabulary of "
        f"Whisper's ({sizes}); put its tokenizer.json or generation_config.json beside it"
    )


def _size_of_named(checkpoint: Checkpoint) -> int | None:
    """Returns the vocabulary of the named model that this is but for more rows; None of others."""
    dims = checkpoint.dims
    for model in NAMED_MODELS.values():
        size = model.dims.n_vocab
        is_extended = size < dims.n_vocab and model.dims == replace(dims, n_vocab=size)
        if is_extended and model.fingerprint is not None:
            rows = checkpoint.tensors[_EMBEDDING][:size]
            if fingerprint({**checkpoint.tensors, _EMBEDDING: rows}) == model.fingerprint:
                return size
    return None


def _declared_by_files(folder: Path, dims: ModelDimensions) -> Iterator[tuple[str, int]]:
    """Yields the name and the size of the vocabulary for each file that tells one."""
    for name, read in _READERS.items():
        path = folder / name
        if path.is_file() and (size := read(read_json_value(path), dims)) is not None:
            yield name, size


def _size_by(no_timestamps: object) -> int | None:
    """Returns the size of a vocabulary by the id of <|notimestamps|>, if that is one."""
    if not isinstance(no_timestamps, int) or isinstance(no_timestamps, bool):
        return None
    return no_timestamps + 1 + _N_TOKENS_AFTER_IT


def _by_table(content: object, _dims: ModelDimensions) -> int | None:
    """`{"<|notimestamps|>": 50363, ...}`."""
    return _size_by(content.get(_NO_TIMESTAMPS)) if isinstance(content, dict) else None


def _by_list(content: object, _dims: ModelDimensions) -> int | None:
    """`["!", ..., "<|notimestamps|>", ...]`."""
    if not isinstance(content, list) or _NO_TIMESTAMPS not in content:
        return None
    return _size_by(content.index(_NO_TIMESTAMPS))


def _by_tokenizer(content: object, dims: ModelDimensions) -> int | None:
    """`{"added_tokens": [{"id": 50363, "content": "<|notimestamps|>"}, ...]}`."""
    added = content.get("added_tokens") if isinstance(content, dict) else None
    entries = [e for e in added if isinstance(e, dict)] if isinstance(added, list) else []
    return _by_table({str(entry.get("content")): entry.get("id") for entry in entries}, dims)


def _by_tokenizer_config(content: object, dims: ModelDimensions) -> int | None:
    """`{"added_tokens_decoder": {"50363": {"content": "<|notimestamps|>"}, ...}}`."""
    added = content.get("added_tokens_decoder") if isinstance(content, dict) else None
    entries = added.items() if isinstance(added, dict) else ()
    ids = {
        str(entry.get("content")): number
        for key, entry in entries
        if isinstance(entry, dict) and (number := whole_number(str(key))) is not None
    }
    return _by_table(ids, dims)


def _by_generation_config(content: object, _dims: ModelDimensions) -> int | None:
    """`{"no_timestamps_token_id": 50363}`."""
    return _size_by(content.get("no_timestamps_token_id")) if isinstance(content, dict) else None


def _by_config(content: object, dims: ModelDimensions) -> int | None:
    """`{"decoder_start_token_id": 50258}`; of the two multilingual ones, that of its mel bands."""
    start = content.get("decoder_start_token_id") if isinstance(content, dict) else None
    if start == _START_OF_ENGLISH_ONLY:
        return 51864
    if start != _START_OF_OTHERS or dims.n_mels not in _SIZES_BY_MELS:
        return None
    return max(_SIZES_BY_MELS[dims.n_mels])


_READERS: Mapping[str, Callable[[object, ModelDimensions], int | None]] = {
    "added_tokens.json": _by_table,
    "tokenizer_config.json": _by_tokenizer_config,
    "tokenizer.json": _by_tokenizer,
    "vocabulary.json": _by_list,
    "vocab.json": _by_table,
    "generation_config.json": _by_generation_config,
    "config.json": _by_config,
}
"""Files of Hugging Face's and CTranslate2's folders, the one that is told most by first."""
