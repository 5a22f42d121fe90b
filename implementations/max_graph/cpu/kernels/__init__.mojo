"""The CPU kernels, registered as operations named whisper_*."""
from .decode import *
from .heads import *
from .log_mel import *
from .mlp import *
from .note_block import *
from .prefill import *
from .rows import *
from .self_attention import *
from .stem import *
