"""Rules of decoding in buffers that kernels read."""

import numpy as np
from max.driver import Buffer, Device
from max.dtype import DType

from implementations.max_graph.graphs.token_state import N_RULES
from implementations.max_graph.token_state import rule_mask, rule_numbers
from implementations.request import TokenRules


def fill(buffer: Buffer, values: np.ndarray) -> None:
    """Copies values into a buffer on the device."""
    buffer.inplace_copy_from(Buffer.from_numpy(values))


class DeviceRules:
    """Numbers and mask of the rules, in buffers that captured steps read."""

    def __init__(self, n_vocab: int, device: Device) -> None:
        self.numbers = Buffer.zeros((N_RULES,), DType.int32, device)
        self.mask = Buffer.zeros((n_vocab,), DType.uint8, device)
        self._n_vocab = n_vocab
        self._uploaded: TokenRules | None = None

    def upload(self, rules: TokenRules) -> None:
        """Copies rules to the device, unless they are there."""
        if rules != self._uploaded:
            fill(self.numbers, rule_numbers(rules))
            fill(self.mask, rule_mask(rules, self._n_vocab))
            self._uploaded = rules
