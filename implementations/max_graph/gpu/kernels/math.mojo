"""Scalar functions of kernels: GELU, and the hardware's exp2, 1 / x and 1 / sqrt(x)."""
from std.math import erf
from std.sys import inlined_assembly

comptime LOWEST_SCORE = Float32(-1e30)
"""Largest score before the first one: finite after any scale, so that no difference is NaN."""


@always_inline
def gelu(x: Float32) -> Float32:
    """Returns GELU by the error function."""
    return 0.5 * x * (1 + erf(x * 0.7071067811865476))


@always_inline
def gelu_erf_approx(x: Float32) -> Float32:
    """Returns GELU by the error function to 4e-6; this is not QuickGELU.

    The normal distribution's log odds, to the base 2, are an odd polynomial here.
    """
    var z = x * x
    var odds = z.fma(Float32(-3.2289997e-06), Float32(8.823832e-05))
    odds = odds.fma(z, Float32(3.6027365e-04))
    odds = odds.fma(z, Float32(-1.0522669e-01))
    odds = odds.fma(z, Float32(-2.3020454e00))
    return x * rcp(1 + exp2(x * odds))


@always_inline
def exp2(x: Float32) -> Float32:
    """Returns 2^x by `ex2.approx`, right to two units in the last place."""
    return inlined_assembly[
        "ex2.approx.ftz.f32 $0, $1;", Float32, constraints="=f,f", has_side_effect=False
    ](x)


@always_inline
def rcp(x: Float32) -> Float32:
    """Returns 1 / x by `rcp.approx`, right to one unit in the last place."""
    return inlined_assembly[
        "rcp.approx.ftz.f32 $0, $1;", Float32, constraints="=f,f", has_side_effect=False
    ](x)


@always_inline
def rsqrt_approx(x: Float32) -> Float32:
    """Returns 1 / sqrt(x) by `rsqrt.approx`, right to two units in the last place.

    The standard library's rsqrt calls a function.
    """
    return inlined_assembly[
        "rsqrt.approx.ftz.f32 $0, $1;", Float32, constraints="=f,f", has_side_effect=False
    ](x)
