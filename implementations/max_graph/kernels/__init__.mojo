"""The CPU kernels, registered as operations named whisper_*."""
from .attention import *
from .decode import *
from .heads import *
from .keys_values import *
from .linear import *
from .log_mel import *
from .mlp import *
from .rows import *
from .self_attention import *
from .stem import *
