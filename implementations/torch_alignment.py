"""Word timing on PyTorch: the matrix of tokens by positions, and the tokens' probabilities.

Both are computed where the decoder left its scores and logits, operation by operation as upstream;
the path through the matrix is found on the host.

Source: `find_alignment` and `median_filter` of whisper/timing.py.
"""

import torch
from torch.nn import functional

from implementations.alignment import (
    MEDIAN_EXCHANGES,
    MEDIAN_WIDTH,
    AlignmentRequest,
    TokenAlignment,
    warp,
)
from implementations.torch_tensors import float32_array


@torch.inference_mode()
def align_text(
    scores: torch.Tensor, logits: torch.Tensor, request: AlignmentRequest
) -> TokenAlignment:
    """Aligns a text with its audio.

    Args:
        scores: Cross-attention's before softmax, [n_heads, n_tokens, n_audio_ctx].
        logits: After <|notimestamps|> and all tokens of the text but the last, [n_text, n_vocab].
        request: The text.
    """
    matrix = alignment_matrix(scores[:, :, : request.n_positions])
    lines = matrix[len(request.sot_sequence) : -1]
    targets = torch.tensor(request.text, device=logits.device)
    probabilities = logits[:, : request.eot].softmax(dim=-1).gather(1, targets[:, None])[:, 0]
    return TokenAlignment(warp(-float32_array(lines)), float32_array(probabilities))


def alignment_matrix(scores: torch.Tensor) -> torch.Tensor:
    """Returns how strongly each token attends to each position, averaged over heads.

    [n_heads, n_tokens, n_positions] -> [n_tokens, n_positions]
    """
    weights = scores.float().softmax(dim=-1)
    deviation, mean = torch.std_mean(weights, dim=-2, keepdim=True, unbiased=False)
    return median_filter((weights - mean) / deviation).mean(dim=0)


def median_filter(values: torch.Tensor) -> torch.Tensor:
    """Returns the median of seven neighbours along the last axis, reflected at both ends.

    Fewer than four values are returned as they are, as upstream does.
    """
    n_values, pad = values.shape[-1], MEDIAN_WIDTH // 2
    if n_values <= pad:
        return values
    if values.ndim > 2 and values.device.type == "cpu":  # a head at a time stays in the cache
        return torch.stack([median_filter(head) for head in values])
    padded = functional.pad(values, (pad, pad), mode="reflect")
    window = [padded[..., i : i + n_values] for i in range(MEDIAN_WIDTH)]
    for low, high in MEDIAN_EXCHANGES:
        smaller = torch.minimum(window[low], window[high])
        window[high] = torch.maximum(window[low], window[high])
        window[low] = smaller
    return window[pad]
