"""Decoding of one window as every implementation offers it: audio features and decoder sessions."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from implementations.request import TokenRules
from weights.closing import Closing

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Heads = Sequence[tuple[int, int]]
"""Attention heads of the decoder as (layer, head)."""


class AudioFeatures(ABC):
    """Encoder output for a batch of windows, wherever the implementation keeps it."""

    @abstractmethod
    def __len__(self) -> int:
        """Returns the number of windows in the batch."""

    @abstractmethod
    def __getitem__(self, index: int) -> Self:
        """Returns one window of the batch, as a batch of one."""

    @abstractmethod
    def numpy(self) -> FloatArray:
        """Returns a copy on the host, [n_batch, n_audio_ctx, n_audio_state]."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """Input of word timing: one decoder pass over a finished token sequence."""

    cross_attention: FloatArray
    """Scores before softmax of the chosen heads, [n_heads, n_tokens, n_audio_ctx]."""
    logits: FloatArray
    """[n_tokens, n_vocab]."""


class DecoderSession(Closing):
    """Decoding of one window by `n_group` hypotheses with their KV cache; a context manager.

    Logits are float32 on the host; the caller may write into them, and they are valid until the
    next call on the session.
    """

    @abstractmethod
    def prefill(self, tokens: Sequence[int], positions: Sequence[int]) -> FloatArray:
        """Feeds the prompt that all hypotheses share; called once, first.

        [n_prompt] tokens -> logits after the given prompt positions, [n_positions, n_vocab].
        """

    @abstractmethod
    def step(self, tokens: IntArray) -> FloatArray:
        """Feeds one token to each hypothesis: [n_group] -> logits [n_group, n_vocab]."""

    def top_k(
        self, sampled: Sequence[Sequence[int]], rules: TokenRules
    ) -> tuple[IntArray, FloatArray] | None:
        """Feeds each hypothesis its latest token and ranks the next ones on the device.

        The default does nothing; a session that masks and ranks tokens by itself overrides it.

        Args:
            sampled: Tokens of each hypothesis so far, prompt left out, [n_group][n_sampled].
            rules: Rules that mask tokens.

        Returns:
            The n_group + 1 most likely next tokens of each hypothesis, highest first, and their
            log-probabilities under the rules, both [n_group, n_group + 1]; None if nothing was
            fed and `step` is to be used.
        """
        del sampled, rules
        return None

    def sample(
        self,
        sampled: Sequence[Sequence[int]],
        rules: TokenRules,
        temperature: float,
        draws: npt.NDArray[np.float64],
    ) -> tuple[IntArray, FloatArray] | None:
        """Feeds each hypothesis its latest token and draws the next one on the device.

        The default does nothing; a session that masks and draws tokens by itself overrides it.

        Args:
            sampled: Tokens of each hypothesis so far, prompt left out, [n_group][n_sampled].
            rules: Rules that mask tokens.
            temperature: Divisor of the logits, above 0.
            draws: Random numbers from 0 to 1: places in the cumulative probabilities, [n_group].

        Returns:
            The next token of each hypothesis and its log-probability under the rules, without the
            temperature, both [n_group]; None if nothing was fed and `step` is to be used.
        """
        del sampled, rules, temperature, draws
        return None

    @abstractmethod
    def reorder(self, source_indices: Sequence[int]) -> None:
        """Lets hypothesis i continue from the cache of hypothesis `source_indices[i]`."""

    @abstractmethod
    def close(self) -> None:
        """Frees the cache; harmless when repeated."""
