"""Functions of whole vectors, to a few units in the last place: two to a power, and GELU.

Their polynomials were fitted for the smallest largest error, for this project.
"""
from std.memory import bitcast

comptime LOG2_E = Float32(1.4426950408889634)


@always_inline
def evaluate[width: Int, n: Int](x: SIMD[DType.float32, width], coefficients: Array[Float32, n]) -> SIMD[DType.float32, width]:
    """The polynomial whose coefficients are given, that of the lowest power first."""
    var y = SIMD[DType.float32, width](coefficients[n - 1])
    comptime for i in range(1, n):
        y = y.fma(x, SIMD[DType.float32, width](coefficients[n - 1 - i]))
    return y


@always_inline
def larger[
    width: Int
](a: SIMD[DType.float32, width], b: SIMD[DType.float32, width]) -> SIMD[DType.float32, width]:
    """The maximum where no number is NaN: one instruction, where `max` takes three."""
    return a.gt(b).select(a, b)


@always_inline
def power_of_two[width: Int](x: SIMD[DType.float32, width]) -> SIMD[DType.float32, width]:
    """Two to the power of x, for x up to 127; what lies below -126 gives about 1e-38."""
    comptime ROUNDING = SIMD[DType.float32, width](12582912)  # its last bit stands for one
    var clipped = larger(x, SIMD[DType.float32, width](-126))
    var rounded = clipped + ROUNDING
    var y = evaluate[width, 6](
        clipped - (rounded - ROUNDING),
        [
            Float32(1.00000007),
            Float32(0.693146967),
            Float32(0.240221197),
            Float32(0.0555071328),
            Float32(0.00967554154),
            Float32(0.00132764717),
        ],
    )
    var exponent = bitcast[DType.int32, width](rounded) << 23
    return bitcast[DType.float32, width](bitcast[DType.int32, width](y) + exponent)


@always_inline
def gelu[width: Int](x: SIMD[DType.float32, width]) -> SIMD[DType.float32, width]:
    """x times the share of the normal distribution below x: the form with erf, not with tanh.

    erf(x / sqrt 2) is odd: x times a polynomial of x squared, which is mapped to [-1, 1] so that
    rounding stays small, as far as 5.5; from there on it is one.
    """
    comptime LIMIT = SIMD[DType.float32, width](5.515432893)
    var z = larger(x, -LIMIT)
    z = z.lt(LIMIT).select(z, LIMIT)
    var u = (z * z).fma(0.0657462196, -1)
    var ratio = evaluate[width, 15](
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
