"""The GPU kernels, registered as operations named whisper_gpu_*."""
from .advance_beams import *
from .attention import *
from .cross_attention_scores import *
from .embedding import *
from .encoder_matmul import *
from .encoder_post_attention import *
from .im2col import *
from .layer_norm import *
from .log_mel import *
from .matmul import *
from .matmul_half import *
from .no_speech_prob import *
from .sample import *
from .top_k import *
from .transpose import *
