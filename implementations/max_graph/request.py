"""Request for compiled graphs: all that decides a compiled file, but for code and machine."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Self

from weights.dims import ModelDimensions

HOPPER = "sm_90a"
"""The architecture of H100 and H200, whose kernels are its own."""
PORTABLE = "+portable"
"""End of a target that has the kernels of all other GPUs on Hopper too."""
HOST = "host"
"""The target that is this machine's CPU."""
NATIVE = ""
"""The compiler's target for a processor that is not x86-64: the one that it runs on."""
TWO_BYTES = "int16"
"""Integers of 16 bits with a scale for each row, high and low bytes apart.

A step reads the high ones of all tokens, half of the bytes of float16, and the low ones of the
tokens that may be the most likely after that: tokens are ranked by 16 bits, and the sum for the
log-probability is taken by 8.
"""
ENCODER_GRAPHS = ("encoder", "encoder_states")
CPU_DECODER_GRAPHS = (
    "log_mel",
    "cross_kv",
    "prefill",
    "decode_step",
    "top_k",
    "sample",
    "greedy",
    "decode_rows",
    "align_text",
)
"""The rest of the CPU's graphs: the encoder's are an artifact of their own, with `hybrid`'s."""
GPU_GRAPHS = (
    "log_mel",
    "mel_windows",
    "mel_loudness",
    *ENCODER_GRAPHS,
    "cross_kv",
    "decoder",
    "alignment",
    "align_texts",
    "sample_first",
    "sample_step",
    "beam_first",
    "beam_step",
)


def has_portable_kernels(target: str) -> bool:
    """Returns True if a GPU's target has the kernels that every GPU since Ampere runs."""
    return target != f"cuda:{HOPPER}"


@dataclass(frozen=True, slots=True)
class MatrixTypes:
    """Types in which matrices are stored; sums are in float32 whatever they are."""

    encoder: str
    """Also of the cross-attention's keys and values, computed once per window."""
    decoder: str
    embedding: str
    """Type of the token embedding, by which logits are computed."""

    def of(self, name: str) -> str:
        """Returns the type of a matrix, by its name in the graphs."""
        if name == "decoder.token_embedding.weight":
            return self.embedding
        many_rows = name.startswith("encoder.") or ".cross_attn.kv." in name
        return self.encoder if many_rows else self.decoder


@dataclass(frozen=True, slots=True)
class CompileRequest:
    """Graphs of a model's sizes, for a target."""

    graphs: tuple[str, ...]
    """`ENCODER_GRAPHS`, or for the host `CPU_DECODER_GRAPHS`, or `GPU_GRAPHS`."""
    dims: ModelDimensions
    matrices: MatrixTypes
    """Types of matrices; on a GPU also of keys and values."""
    target: str = HOST
    """`host`, this machine's CPU, or a GPU by its architecture: `cuda:sm_90a`.

    After `+portable` it has the kernels that every GPU since Ampere runs.
    """
    cpu_target: str = NATIVE
    """The compiler's name for the least processor that runs the host's code: `x86-64-v3`, ..."""
    gpu: int = 0
    """Index of the GPU in its machine, which a compiled file names."""

    @property
    def architecture(self) -> str:
        """Architecture of the GPU to compile for: `sm_90a`."""
        return self.target.partition(":")[2].removesuffix(PORTABLE)

    @property
    def is_portable(self) -> bool:
        """True if its kernels are those that every GPU since Ampere runs."""
        return has_portable_kernels(self.target)

    @property
    def has_encoder(self) -> bool:
        """True unless it asks for the decoder alone."""
        return "encoder" in self.graphs

    @property
    def has_decoder(self) -> bool:
        """True unless it asks for the encoder alone."""
        return self.graphs != ENCODER_GRAPHS

    def to_json(self) -> str:
        """Returns the request as text, for `from_json` and for a cache key."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Returns the request that `to_json` wrote.

        Raises:
            ValueError, TypeError, KeyError: the text is not a request.
        """
        fields = json.loads(text)
        graphs, dims = tuple(fields.pop("graphs")), ModelDimensions(**fields.pop("dims"))
        return cls(graphs, dims, MatrixTypes(**fields.pop("matrices")), **fields)
