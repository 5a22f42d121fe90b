"""Epilogue of the encoder's matmul: bias, GELU and residual, on sums in registers."""
from .math import gelu_erf_approx
from .pointers import F32, FloatPointer, load


@fieldwise_init
struct Epilogue(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Work on sums and bias before they are stored."""

    var gelu: Bool
    var residual_norm: Bool
    """A residual is added, and the sum is layer-normalized."""
    var store_output: Bool
    """False where only the normalized sum is wanted."""


@always_inline
def apply_epilogue[
    size: Int, //, *, epilogue: Epilogue, half: Int
](mut sums: SIMD[F32, size], bias: FloatPointer, residual: FloatPointer):
    """Adds bias, GELU and residual to one of the two rows that a thread has sums of.

    Parameters:
        size: Sums of a thread, in both rows.
        epilogue: Work on the sums.
        half: Which of the two rows, which are eight apart.

    Args:
        sums: Accumulators of wgmma.
        bias: From the thread's first column on.
        residual: The row, from the thread's first column on.
    """
    comptime for j in range(size // 4):
        comptime at = j * 4 + half * 2
        var pair = SIMD[F32, 2](sums[at], sums[at + 1]) + load[2](bias, j * 8)
        comptime if epilogue.gelu:
            pair[0] = gelu_erf_approx(pair[0])
            pair[1] = gelu_erf_approx(pair[1])
        comptime if epilogue.residual_norm:
            pair += load[2](residual, j * 8)
        sums[at] = pair[0]
        sums[at + 1] = pair[1]
