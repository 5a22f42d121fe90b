"""Rows over the weights of openai-whisper's own model, as `cuda` decodes them; here on the CPU."""

from pathlib import Path

import numpy as np
import torch

from implementations.implementation import Implementation
from implementations.request import DecodedWindow
from implementations.row_decoder import RowWindow
from implementations.torch_decoder.load import share_decoder
from implementations.torch_decoder.row_decoder import TorchRowDecoder
from implementations.torch_model.implementation import TorchImplementation
from maxwhisper_cli.transcription.mel import MelSpectrogram
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from maxwhisper_cli.transcription.window_request import RequestBuilder
from tests.support import loaded


def test_rows_over_the_weights_of_openai_whisper(sonnet: Path) -> None:
    cpu: Implementation = loaded.model("tiny.en", "cpu").implementation
    assert isinstance(cpu, TorchImplementation)
    with MelSpectrogram([loaded.samples_of(sonnet)], 80) as mel:
        features = cpu.encode(np.stack([mel.padded_window(at) for at in (0, 900, 2000)]))
    tokenizer = get_tokenizer(False)
    options = TranscribeOptions(beam_size=None, sample_len=10)
    builder = RequestBuilder.create(cpu.dims, options, tokenizer)
    before = tokenizer.encode(" From fairest creatures")
    requests = [builder.build(before[:n], 0.0, (0, 0, 0)) for n in (0, 2, 4)]
    decoder = share_decoder(cpu._model.decoder, cpu.dims)
    weight = decoder.token_embedding.weight
    assert isinstance(weight, torch.Tensor)
    assert weight.data_ptr() == cpu._model.decoder.token_embedding.weight.data_ptr()
    found: dict[int, DecodedWindow | None] = {}
    with TorchRowDecoder(decoder, 3) as rows:
        rows.add([RowWindow(i, features[i], request) for i, request in enumerate(requests)])
        while results := rows.advance():
            found |= {result.key: result.decoded for result in results}
    for i, request in enumerate(requests):
        decoded, alone = found[i], cpu.decode(features[i], request)
        assert decoded is not None
        assert decoded.tokens == alone.tokens
        assert abs(decoded.sum_logprob - alone.sum_logprob) < 1e-3
