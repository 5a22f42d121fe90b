"""The GPU kernels, registered as operations named whisper_gpu_*."""
from .attention import *
from .choose import *
from .linear import *
from .patches import *
from .rows import *
