"""The CPU kernels, registered as operations named whisper_cpu_*."""
from .alignment_matrix import *
from .attention import *
from .bind_block import *
from .conv_stem import *
from .decode import *
from .decode_rows import *
from .dtw import *
from .greedy import *
from .layer_norm import *
from .log_mel import *
from .mlp import *
from .prefill import *
from .qkv_projection import *
from .sample import *
