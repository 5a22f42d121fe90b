from .attention import *
from .linear import *
from .rows import *
