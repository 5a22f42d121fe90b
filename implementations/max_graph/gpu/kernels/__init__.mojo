"""The GPU kernels, registered as operations named whisper_gpu_*."""
from .patches import *
