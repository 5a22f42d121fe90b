"""Word timing on PyTorch: the matrix of tokens by positions, and the tokens' probabilities.

Both are computed where the decoder left its scores and logits, with upstream's numbers; the path
through the matrix is found on the host.

Source: `find_alignment` and `median_filter` of whisper/timing.py.
"""

import torch
from torch.nn import functional

from implementations.alignment import (
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
    deviation, mean = _std_mean(weights)
    weights -= mean
    weights /= deviation
    return median_filter(weights).mean(dim=0)


def _std_mean(weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """[n_heads, n_tokens, n_positions] -> deviation and mean over tokens, keeping the axis.

    On a CPU `torch.std_mean` takes nine times as long to add up lines. It adds in float64 too.
    """
    if weights.device.type != "cpu":
        deviation, mean = torch.std_mean(weights, dim=-2, keepdim=True, unbiased=False)
        return deviation, mean
    moments = []
    for head in weights:  # a head at a time stays in the cache
        wide = head.double()
        mean = wide.mean(dim=0, keepdim=True)
        wide -= mean
        moments.append(torch.stack([wide.square_().mean(dim=0, keepdim=True).sqrt_(), mean]))
    deviation, mean = torch.stack(moments, dim=1).float()
    return deviation, mean


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
    low, middle, high = _sorted_triples(padded)
    # The median lies between the third and the fourth of the six values around the centre.
    a, b = slice(n_values), slice(pad + 1, None)
    third = torch.minimum(high[..., a], high[..., b])
    torch.minimum(third, torch.maximum(middle[..., a], low[..., b]), out=third)
    torch.minimum(third, torch.maximum(low[..., a], middle[..., b]), out=third)
    fourth = torch.maximum(low[..., a], low[..., b])
    torch.maximum(fourth, torch.minimum(middle[..., a], high[..., b]), out=fourth)
    torch.maximum(fourth, torch.minimum(high[..., a], middle[..., b]), out=fourth)
    torch.minimum(fourth, padded[..., pad : pad + n_values], out=fourth)
    return torch.maximum(third, fourth, out=third)


def _sorted_triples(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns each value and the two after it in order of size, [..., n] -> [..., n - 2] each."""
    first, second, third = values[..., :-2], values[..., 1:-1], values[..., 2:]
    low, high = torch.minimum(first, second), torch.maximum(first, second)
    middle = torch.maximum(low, third)
    torch.minimum(low, third, out=low)
    return low, torch.minimum(middle, high), torch.maximum(middle, high)
