"""Functions of vectors: two to a power, and GELU.

Their polynomials were fitted for the smallest largest error, for this project. What is rounded to
bfloat16 afterwards takes shorter ones, whose error is below that rounding.
"""
from std.memory import bitcast
from .tile import F32

comptime LOG2_E = Float32(1.4426950408889634)


@always_inline
def polynomial[n: Int](x: SIMD[F32, _], coefficients: Array[Float32, n]) -> type_of(x):
    """Evaluates the polynomial of the given coefficients, that of the lowest power first."""
    var y = type_of(x)(coefficients[n - 1])
    comptime for i in range(1, n):
        y = y.fma(x, type_of(x)(coefficients[n - 1 - i]))
    return y


@always_inline
def fast_max(a: SIMD[F32, _], b: type_of(a)) -> type_of(a):
    """Returns the maximum where no number is NaN: one instruction, where `max` takes three."""
    return a.gt(b).select(a, b)


@always_inline
def exp2[dtype: DType](x: SIMD[F32, _]) -> type_of(x):
    """Returns two to the power of x, for x up to 127; below -126 it is about 1e-38."""
    comptime ROUNDING = Float32(12582912)  # the last bit of this number stands for one
    var clipped = fast_max(x, -126)
    var rounded = clipped + ROUNDING
    var rest = clipped - (rounded - ROUNDING)
    var y: type_of(x)
    comptime if dtype == DType.bfloat16:
        y = polynomial[4](
            rest,
            [
                Float32(0.999928073),
                Float32(0.693260986),
                Float32(0.242611131),
                Float32(0.0551716694),
            ],
        )
    else:
        y = polynomial[6](
            rest,
            [
                Float32(1.00000007),
                Float32(0.693146967),
                Float32(0.240221197),
                Float32(0.0555071328),
                Float32(0.00967554154),
                Float32(0.00132764717),
            ],
        )
    var exponent = bitcast[DType.int32, x.length](rounded) << 23
    return bitcast[F32, x.length](bitcast[DType.int32, x.length](y) + exponent)


@always_inline
def gelu[dtype: DType](x: SIMD[F32, _]) -> type_of(x):
    """Returns GELU in its form with erf, not with tanh.

    erf(x / sqrt 2) is odd: x times a polynomial of x squared, which is mapped to [-1, 1] so that
    rounding stays small, as far as 5.5; from there on it is one.
    """
    comptime LIMIT = Float32(5.515432893)
    var z = fast_max(x, -LIMIT)
    z = z.lt(LIMIT).select(z, LIMIT)
    var u = (z * z).fma(0.0657462196, -1)
    var ratio: type_of(x)
    comptime if dtype == DType.bfloat16:
        ratio = polynomial[10](
            u,
            [
                Float32(0.256408159),
                Float32(-0.127949571),
                Float32(0.0940066307),
                Float32(-0.0777661146),
                Float32(0.0746395589),
                Float32(-0.0535062413),
                Float32(0.0106457465),
                Float32(-0.0208614621),
                Float32(0.05370438),
                Float32(-0.0280280658),
            ],
        )
    else:
        ratio = polynomial[15](
            u,
            [
                Float32(0.256385599),
                Float32(-0.127994454),
                Float32(0.0952394522),
                Float32(-0.077439341),
                Float32(0.0641409684),
                Float32(-0.0523240163),
                Float32(0.0407604367),
                Float32(-0.0295467842),
                Float32(0.0211871407),
                Float32(-0.0156637324),
                Float32(0.0086608504),
                Float32(-0.00246037618),
                Float32(0.00209371348),
                Float32(-0.00285861202),
                Float32(0.00112859513),
            ],
        )
    var half = 0.5 * x
    return half.fma(z * ratio, half)
