"""Models that openai-whisper has names for: addresses, sizes and alignment heads.

A table of facts. `weights.resolve` finds and fetches the files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from weights.dims import ModelDimensions
from weights.names import expected_shapes

AlignmentHeads = tuple[tuple[int, int], ...]
"""(decoder layer, head) pairs."""

_PUBLISHER = "https://openaipublic.azureedge.net/main/whisper/models"


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A published model (source: openai-whisper's `whisper/__init__.py`)."""

    name: str
    sha256: str
    """Sha256 of the published `.pt` file; also part of its address."""
    dims: ModelDimensions
    alignment_heads: AlignmentHeads
    """Heads whose cross-attention follows time, found by the publisher for this model."""
    fingerprint: str | None = None
    """`weights.assembly.fingerprint` of its tensors; None if it was never computed."""

    @property
    def url(self) -> str:
        """Address of the published `.pt` file."""
        return f"{_PUBLISHER}/{self.sha256}/{self.name}.pt"

    @property
    def n_bytes(self) -> int:
        """Size of the tensors in float16, as published; the file is larger by less than 0.2 %."""
        return 2 * sum(prod(shape) for shape in expected_shapes(self.dims).values())

    @property
    def n_languages(self) -> int:
        """Number of languages that it transcribes: 1 (English), 99 or 100."""
        return self.dims.n_languages if self.dims.is_multilingual else 1


def _dims(
    *, n_state: int, n_layer: int, n_vocab: int, n_mels: int = 80, n_text_layer: int | None = None
) -> ModelDimensions:
    return ModelDimensions(
        n_mels=n_mels,
        n_audio_ctx=1500,
        n_audio_state=n_state,
        n_audio_head=n_state // 64,
        n_audio_layer=n_layer,
        n_vocab=n_vocab,
        n_text_ctx=448,
        n_text_state=n_state,
        n_text_head=n_state // 64,
        n_text_layer=n_text_layer or n_layer,
    )


_PUBLISHED = (
    NamedModel(
        name="tiny.en",
        sha256="d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03",
        dims=_dims(n_state=384, n_layer=4, n_vocab=51864),
        alignment_heads=((1, 0), (2, 0), (2, 5), (3, 0), (3, 1), (3, 2), (3, 3), (3, 4)),
        fingerprint="8a64143bf0b631927d2602026cea72cd8786257338e0ae671d1a16a591d669ca",
    ),
    NamedModel(
        name="tiny",
        sha256="65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9",
        dims=_dims(n_state=384, n_layer=4, n_vocab=51865),
        alignment_heads=((2, 2), (3, 0), (3, 2), (3, 3), (3, 4), (3, 5)),
    ),
    NamedModel(
        name="base.en",
        sha256="25a8566e1d0c1e2231d1c762132cd20e0f96a85d16145c3a00adf5d1ac670ead",
        dims=_dims(n_state=512, n_layer=6, n_vocab=51864),
        alignment_heads=((3, 3), (4, 7), (5, 1), (5, 5), (5, 7)),
    ),
    NamedModel(
        name="base",
        sha256="ed3a0b6b1c0edf879ad9b11b1af5a0e6ab5db9205f891f668f8b0e6c6326e34e",
        dims=_dims(n_state=512, n_layer=6, n_vocab=51865),
        alignment_heads=((3, 1), (4, 2), (4, 3), (4, 7), (5, 1), (5, 2), (5, 4), (5, 6)),
        fingerprint="cc7148d8fccdfed5921f8c229b7c98bd0d9a29127a06c900d12695eba40f317f",
    ),
    NamedModel(
        name="small.en",
        sha256="f953ad0fd29cacd07d5a9eda5624af0f6bcf2258be67c92b79389873d91e0872",
        dims=_dims(n_state=768, n_layer=12, n_vocab=51864),
        alignment_heads=(
            (6, 6),
            (7, 0),
            (7, 3),
            (7, 8),
            (8, 2),
            (8, 5),
            (8, 7),
            (9, 0),
            (9, 4),
            (9, 8),
            (9, 10),
            (10, 0),
            (10, 1),
            (10, 2),
            (10, 3),
            (10, 6),
            (10, 11),
            (11, 2),
            (11, 4),
        ),
    ),
    NamedModel(
        name="small",
        sha256="9ecf779972d90ba49c06d968637d720dd632c55bbf19d441fb42bf17a411e794",
        dims=_dims(n_state=768, n_layer=12, n_vocab=51865),
        alignment_heads=(
            (5, 3),
            (5, 9),
            (8, 0),
            (8, 4),
            (8, 7),
            (8, 8),
            (9, 0),
            (9, 7),
            (9, 9),
            (10, 5),
        ),
    ),
    NamedModel(
        name="medium.en",
        sha256="d7440d1dc186f76616474e0ff0b3b6b879abc9d1a4926b7adfa41db2d497ab4f",
        dims=_dims(n_state=1024, n_layer=24, n_vocab=51864),
        alignment_heads=(
            (11, 4),
            (14, 1),
            (14, 12),
            (14, 14),
            (15, 4),
            (16, 0),
            (16, 4),
            (16, 9),
            (17, 12),
            (17, 14),
            (18, 7),
            (18, 10),
            (18, 15),
            (20, 0),
            (20, 3),
            (20, 9),
            (20, 14),
            (21, 12),
        ),
    ),
    NamedModel(
        name="medium",
        sha256="345ae4da62f9b3d59415adc60127b97c714f32e89e936602e85993674d08dcb1",
        dims=_dims(n_state=1024, n_layer=24, n_vocab=51865),
        alignment_heads=((13, 15), (15, 4), (15, 15), (16, 1), (20, 0), (23, 4)),
    ),
    NamedModel(
        name="large-v1",
        sha256="e4b87e7e0bf463eb8e6956e646f1e277e901512310def2c24bf0e11bd3c28e9a",
        dims=_dims(n_state=1280, n_layer=32, n_vocab=51865),
        alignment_heads=(
            (9, 19),
            (11, 2),
            (11, 4),
            (11, 17),
            (22, 7),
            (22, 11),
            (22, 17),
            (23, 2),
            (23, 15),
        ),
    ),
    NamedModel(
        name="large-v2",
        sha256="81f7c96c852ee8fc832187b0132e569d6c3065a3252ed18e56effd0b6a73e524",
        dims=_dims(n_state=1280, n_layer=32, n_vocab=51865),
        alignment_heads=(
            (10, 12),
            (13, 17),
            (16, 11),
            (16, 12),
            (16, 13),
            (17, 15),
            (17, 16),
            (18, 4),
            (18, 11),
            (18, 19),
            (19, 11),
            (21, 2),
            (21, 3),
            (22, 3),
            (22, 9),
            (22, 12),
            (23, 5),
            (23, 7),
            (23, 13),
            (25, 5),
            (26, 1),
            (26, 12),
            (27, 15),
        ),
    ),
    NamedModel(
        name="large-v3",
        sha256="e5b1a55b89c1367dacf97e3e19bfd829a01529dbfdeefa8caeb59b3f1b81dadb",
        dims=_dims(n_state=1280, n_layer=32, n_vocab=51866, n_mels=128),
        alignment_heads=(
            (7, 0),
            (10, 17),
            (12, 18),
            (13, 12),
            (16, 1),
            (17, 14),
            (19, 11),
            (21, 4),
            (24, 1),
            (25, 6),
        ),
    ),
    NamedModel(
        name="large-v3-turbo",
        sha256="aff26ae408abcba5fbf8813c21e62b0941638c5f6eebfb145be0c9839262a19a",
        dims=_dims(n_state=1280, n_layer=32, n_vocab=51866, n_mels=128, n_text_layer=4),
        alignment_heads=((2, 4), (2, 11), (3, 3), (3, 6), (3, 11), (3, 14)),
    ),
)

_ALIASES = {"large": "large-v3", "turbo": "large-v3-turbo"}


def _by_name() -> dict[str, NamedModel]:
    models = {model.name: model for model in _PUBLISHED}
    return models | {alias: models[name] for alias, name in _ALIASES.items()}


NAMED_MODELS: Mapping[str, NamedModel] = _by_name()
"""Published models by name; an alias (`large`, `turbo`) gives the model under its own name."""
