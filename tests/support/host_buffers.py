"""The numbers of MAX's buffers on the host, where tests write into them or ask where they lie."""

import ctypes

import numpy as np
from max.driver import Buffer


def array_of(buffer: Buffer) -> np.ndarray:
    """Returns a host buffer's own numbers as an array that may be written into.

    `Buffer.to_numpy` is a copy elsewhere before numpy 2.1, which takes its memory as read-only.
    """
    numbers = np.from_dlpack(buffer)
    memory = (ctypes.c_char * numbers.nbytes).from_address(numbers.ctypes.data)
    return np.frombuffer(memoryview(memory).cast("B"), numbers.dtype).reshape(numbers.shape)
