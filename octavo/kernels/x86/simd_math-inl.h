// SPDX-License-Identifier: Apache-2.0
// Functions of a vector, written against the names of simd_avx2.h and simd_avx512.h and included inside their
// namespaces (so no includes here). The same operations in the same order: all instruction sets give the same
// bits.

/// |a|; keeps NaN.
OCTAVO_SIMD F32 abs(F32 a) { return from_bits(bits(a) & splat(0x7fffffffu)); }
OCTAVO_SIMD F32 negate(F32 a) { return from_bits(bits(a) ^ splat(0x80000000u)); }
/// Bits of |a|. Their unsigned maximum is the largest magnitude, and a NaN wins over Inf over numbers.
OCTAVO_SIMD U32 magnitude(F32 a) { return bits(a) & splat(0x7fffffffu); }

OCTAVO_SIMD F32 horner(F32, F32 value) { return value; }
template <class... Rest>
OCTAVO_SIMD F32 horner(F32 x, F32 value, float next, Rest... rest) {
  return horner(x, fma(value, x, splat(next)), rest...);
}
/// Polynomial in x, highest coefficient first.
template <class... Rest>
OCTAVO_SIMD F32 polynomial(F32 x, float highest, Rest... rest) {
  return horner(x, splat(highest), rest...);
}

/// e^x to 1 ulp for x in [-152 ln 2, 130 ln 2]: 0 at the lower and Inf at the upper end, NaN for NaN. x = n
/// ln 2 + r with |r| <= ln 2 / 2; e^r = 1 + r + r^2 q(r), q a minimax fit (7.5e-9).
OCTAVO_SIMD F32 exp_within(F32 x) {
  const F32 n = round(x * splat(1.44269504f));
  // ln 2 in two parts, the first with so few bits that n times it is exact.
  const F32 r = fnma(n, splat(-2.12194440e-4f), fnma(n, splat(0.693359375f), x));
  const F32 q =
      polynomial(r, 1.394112413e-3f, 8.363181235e-3f, 4.166637513e-2f, 0.1666657697f, 0.5000000027f);
  return scale_by_power(fma(r * r, q, r) + splat(1.0f), n);
}

/// e^x to 1 ulp. 0 below -87.3365 (the result would not be a normal number, and subnormals are slow to make),
/// Inf from 88.7229 on, NaN for NaN.
OCTAVO_SIMD F32 exp(F32 x) {
  const F32 lowest = splat(-87.3365f);
  return select(x < lowest, zero(), exp_within(max(lowest, min(splat(89.0f), x))));
}

/// 2^x to 2 ulp. 0 from -152 down, Inf from 130 up, NaN for NaN. The polynomial is a minimax fit (9.1e-8) on
/// [-1/2, 1/2], and 1 for 0.
OCTAVO_SIMD F32 power_of_2(F32 x) {
  const F32 within = max(splat(-152.0f), min(splat(130.0f), x)), n = round(within);
  const F32 p = polynomial(within - n, 1.326472725e-3f, 9.671512688e-3f, 5.550733744e-2f, 0.2402224208f,
                           0.6931469776f, 1.0f);
  return scale_by_power(p, n);
}

/// Phi(x), the distribution function of the standard normal law, to a few ulp in both tails: what (1 +
/// erf(x/sqrt 2)) / 2 computes with cancellation. `density`: its derivative. Phi(-x) = erfcx(z) e^(-z^2) / 2
/// with z = x / sqrt 2; (1 + 2z) erfcx(z) is a minimax polynomial (relative 4e-9) in t = (z - 3) / (z + 3),
/// the substitution of Shepherd and Laframboise (Math. Comp. 36, 1981).
OCTAVO_SIMD F32 normal_cdf(F32 x, F32* density) {
  const F32 z = abs(x) * splat(0.707106781f);
  const F32 t = (z - splat(3.0f)) / (z + splat(3.0f));
  const F32 p = polynomial(t, 7.600659639e-5f, -9.306683644e-5f, -7.230488045e-4f, 1.876321458e-3f,
                           2.495915924e-3f, -2.376460125e-2f, 6.831786687e-2f, -0.1192749349f, 0.129643903f,
                           -4.756219576e-2f, -0.13562106f, 1.253008057f);
  // e^(-x^2/2) with the rounding error of the square put back: it is worth x^2/2 ulp.
  const F32 square = x * x, lost = fma(x, x, negate(square));
  const F32 first = exp(square * splat(-0.5f));
  const F32 gauss = select(first < splat(1e-37f), first, fma(first, lost * splat(-0.5f), first));
  *density = gauss * splat(0.398942280f);
  const F32 tail = splat(0.5f) * gauss * p / fma(splat(2.0f), z, splat(1.0f));
  // Infinite x: t is NaN there.
  const F32 safe_tail = select(splat(20.0f) < z, zero(), tail);
  return select(x < zero(), safe_tail, splat(1.0f) - safe_tail);
}
