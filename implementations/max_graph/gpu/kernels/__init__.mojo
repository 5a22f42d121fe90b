"""The GPU kernels, registered as operations named whisper_gpu_*."""
from .alignment import *
from .attention import *
from .beams import *
from .choose import *
from .encoder import *
from .half_linear import *
from .likeliest import *
from .linear import *
from .log_mel import *
from .patches import *
from .rows import *
