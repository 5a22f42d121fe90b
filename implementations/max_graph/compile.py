"""Compile the graphs of a model into one file; run as a program, so that it has its own process.

A process of its own keeps the compiler's memory, signals and crashes out of the caller's. It knows
no cache and no weights:

    python -m implementations.max_graph.compile REQUEST_JSON MEF_PATH
"""

import dataclasses
import json
import os
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from weights.dims import ModelDimensions

ENCODER_GRAPHS = ("encoder", "encoder_states")
ALL_GRAPHS = ("log_mel", *ENCODER_GRAPHS, "audio_keys_values", "decoder", "alignment")


@dataclass(frozen=True, slots=True)
class CompileRequest:
    """What to compile: all that decides a compiled file, but for code and machine."""

    graphs: tuple[str, ...]
    """`ENCODER_GRAPHS` or `ALL_GRAPHS`."""
    dims: ModelDimensions
    matrix_dtype: str
    """`float16` or `float32`, how matrices are kept; all computing is in float32."""

    def to_json(self) -> str:
        """The request in words that `from_json` and a cache key understand."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The request that `to_json` wrote."""
        fields = json.loads(text)
        return cls(
            tuple(fields["graphs"]), ModelDimensions(**fields["dims"]), fields["matrix_dtype"]
        )


def compile_to(request: CompileRequest, path: Path) -> None:
    """Build the graphs as one module, compile it, and write the compiled file."""
    from max.driver import CPU
    from max.dtype import DType
    from max.engine import InferenceSession
    from max.graph import KernelLibrary, Module

    from implementations.max_graph.decoder import TextDecoder
    from implementations.max_graph.encoder import AudioEncoder
    from implementations.max_graph.kernel_ops import KERNELS
    from implementations.max_graph.spectrogram import LogMel

    module, kernels = Module(), KernelLibrary()
    kernels.load_paths([KERNELS])
    dtype = DType[request.matrix_dtype]
    AudioEncoder(request.dims, dtype).add_graphs(module, kernels)
    if request.graphs != ENCODER_GRAPHS:
        LogMel(request.dims.n_mels).add_graph(module, kernels)
        TextDecoder(request.dims, dtype).add_graphs(module, kernels)
    session = InferenceSession(devices=[CPU()])
    session.compile(module, custom_extensions=kernels.library_paths()).export_mef(path)


def _end_with(parent: int, path: Path) -> None:
    """When the parent process is gone, killed or not, leave nothing running or lying about."""
    while os.getppid() == parent:
        time.sleep(0.5)
    with suppress(OSError):
        path.unlink(missing_ok=True)
        path.parent.rmdir()  # refused by a folder that holds anything else
    os._exit(1)


def main() -> None:
    """Compile what the command line asks for."""
    path = Path(sys.argv[2])
    threading.Thread(target=_end_with, args=(os.getppid(), path), daemon=True).start()
    compile_to(CompileRequest.from_json(sys.argv[1]), path)
    # The file is complete; taking MAX's worker threads down in order has been seen to abort.
    os._exit(0)


if __name__ == "__main__":
    main()
