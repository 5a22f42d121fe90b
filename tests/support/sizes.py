"""Sizes of made-up models that are compiled for tests."""

from weights.dims import ModelDimensions

ODD_DIMS = ModelDimensions(
    n_mels=128,
    n_audio_ctx=50,
    n_audio_state=80,
    n_audio_head=2,
    n_audio_layer=1,
    n_vocab=1003,
    n_text_ctx=70,
    n_text_state=80,
    n_text_head=2,
    n_text_layer=3,
)
"""Departs from tiny.en wherever a model can: 128 mels, uneven depth, heads and vocabulary that fill
no whole panel, short contexts."""
LEVEL_DIMS = ModelDimensions(
    n_mels=80,
    n_audio_ctx=130,
    n_audio_state=128,
    n_audio_head=2,
    n_audio_layer=2,
    n_vocab=51864,
    n_text_ctx=8,
    n_text_state=128,
    n_text_head=2,
    n_text_layer=1,
)
"""More positions than a block has rows and than attention takes keys at a time, in whole steps of
neither; heads of 64 channels as in every published model."""
