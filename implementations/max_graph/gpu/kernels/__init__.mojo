"""The GPU kernels, registered as operations named whisper_gpu_*."""
from .linear import *
from .patches import *
