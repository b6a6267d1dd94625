// SPDX-License-Identifier: Apache-2.0
// What a variant (ref, avx2, avx512) of the element-wise kernels provides: functions on one row, or a stretch
// of one, by one thread. Plain data only: the files compiled for an instruction set include this, and must
// not bring along ordinary inline functions compiled with its flags.
#pragma once
#include <cstdint>

namespace octavo {

/// A row of fp32 or bf16 elements.
struct ConstRow {
  const void* data = nullptr;
  bool bf16 = false;
};
struct Row {
  void* data = nullptr;
  bool bf16 = false;
};

/// Elements of any format with a sign: value = element * scale.
struct StoredRow {
  const void* data = nullptr;
  int format = 0;                ///< Format as a number
  float scale = 1;               ///< 1 for fp32 and bf16
  const float* table = nullptr;  ///< the 256 values of an 8-bit format
};

/// A format of 8 or 16 bits with a sign, and what to do beyond its end, as numbers. Codes are without the
/// sign bit.
struct CodeGrid {
  int bits = 8;
  int mantissa_bits = 0;
  int bias = 0;
  uint32_t max_code = 0;
  uint32_t overflow_code = 0;  ///< what a larger code becomes
  uint32_t nan_code = 0;
  bool has_negative_zero = true;
  float min_normal = 0;
  float limit =
      0;  ///< twice the largest number: where magnitudes may be cut without changing what they become
};

/// One row of codes. rounding is Rounding as a number: nearest_even, stochastic, truncate.
struct QuantizeRow {
  ConstRow x{};
  void* codes = nullptr;  ///< of as many bits as the grid says
  int64_t cols = 0;
  float scale = 1;
  const float* column_scales = nullptr;  ///< [cols], one for each element, instead of `scale`
  int rounding = 0;
  bool stream = false;       ///< write past the caches; 8 bits only
  bool bounded = false;      ///< no |x / scale| is known to be above the largest number, none is a NaN
  uint64_t seed = 0;         ///< stochastic: Philox key
  uint64_t first_index = 0;  ///< stochastic: Philox counter of the first element
};

struct NormForwardRow {
  bool rms = false;
  int64_t cols = 0;
  ConstRow x{}, residual{};  ///< residual.data == nullptr: none, and sum is not written
  float x_factor = 1;        ///< sum = x_factor * x + residual
  Row sum{}, y{};            ///< y.data == nullptr: only the statistics (and the sum)
  /// y = skip_factor * skip + y_factor * norm; or none, and y is the norm. May alias y.
  ConstRow skip{};
  float skip_factor = 1, y_factor = 1;
  const float* gamma = nullptr;
  const float* beta = nullptr;
  float eps = 0;
  float mean = 0, rstd = 0;  ///< results of norm_forward, read by norm_apply
};

struct NormBackwardRow {
  bool rms = false;
  int64_t cols = 0;
  ConstRow dy{}, x{}, residual_grad{};
  float dy_factor = 1, residual_factor = 1;  ///< of dy and residual_grad
  Row dskip{};                               ///< skip_factor * dy, or none; may alias dy
  float skip_factor = 1;
  const float* gamma = nullptr;
  float mean = 0, rstd = 0;
  Row dx{};
  float* dgamma = nullptr;  ///< added to
  float* dbeta = nullptr;   ///< added to, or none
};

/// kind is Activation as a number: gelu_tanh, gelu, relu, silu. up.data == nullptr: no gate.
struct ActivationForwardRow {
  int kind = 0;
  int64_t cols = 0;
  ConstRow x{}, up{};
  Row y{};
};
struct ActivationBackwardRow {
  int kind = 0;
  int64_t cols = 0;
  ConstRow dy{}, x{}, up{};
  Row dx{}, dup{};
  Row y{};                             ///< what activation_forward gave, to the same bits, or none
  uint32_t amax_dx = 0, amax_dup = 0;  ///< results, bits
};

/// AdamWParams with the constants of a step worked out.
struct AdamWStep {
  float beta1 = 0, one_minus_beta1 = 0, beta2 = 0, one_minus_beta2 = 0;
  float eps = 0, grad_scale = 1;
  float decay = 1;          ///< 1 - AdamWParams::decay
  float step_size = 0;      ///< lr / bias_correction1
  float inverse_root2 = 1;  ///< 1 / sqrt(bias_correction2); a factor, as a second division would be felt
};

/// LionParams likewise.
struct LionStep {
  float beta1 = 0, one_minus_beta1 = 0, beta2 = 0, one_minus_beta2 = 0;
  float grad_scale = 1, decay = 1, step_size = 0;
};

/// A stretch of an optimizer step. Results are FP32, and may go to where their FP32 inputs are.
struct OptimizerRow {
  StoredRow weight{}, grad{}, moment1{}, moment2{};  ///< no moment2 for Lion
  float *new_weight = nullptr, *new_moment1 = nullptr, *new_moment2 = nullptr;
  int64_t n = 0;
  uint32_t amax_weight = 0, amax_moment1 = 0, amax_moment2 = 0;  ///< of the results, bits
};

/// Where a step puts codes at once: nearest even, by scales that are powers of two.
struct Fp8LmCodes {
  uint16_t* weight = nullptr;   ///< fp16
  uint8_t* moment1 = nullptr;   ///< e4m3
  uint16_t* moment2 = nullptr;  ///< fp16
  float weight_scale = 1, moment1_scale = 1, moment2_scale = 1;
};

/// A stretch of a sum of parts in one format, see sum_codes.h.
struct SumRow {
  const void* const* parts = nullptr;
  int count = 0;
  StoredRow like{};  ///< format and table of the parts, scale 1
  int bytes = 0;     ///< of an element
  CodeGrid grid{};
  bool rounds = false;          ///< sums of two, to the format
  bool tree = false;            ///< pairs, pairs of pairs, ...; or one after the other
  bool last_is_result = false;  ///< the last sum is not counted if it saturates
  float factor = 1;
  int64_t first = 0, n = 0;  ///< elements [first, first + n) of the parts
  float* sum = nullptr;      ///< [n], times factor; may be the elements of a part
  uint32_t amax = 0;         ///< results
  int64_t saturated = 0;
};

/// Products whose sums go through FP16 (Fp16Sums in gemm.h).
inline constexpr int64_t kFp16Columns = 32;
inline constexpr int64_t kFp16Block = 16;  ///< products that are added in FP32 before the sum is rounded
struct Fp16SumBlock {
  const float* a = nullptr;  ///< [rows][k]
  int64_t a_stride = 0;
  const float* b = nullptr;  ///< [k][kFp16Columns]
  int64_t rows = 0, k = 0;
  /// Factors of each part before it joins the sum, row times column; or none of the rows.
  const float* row_factor = nullptr;
  const float* column_factor = nullptr;
  float* sum = nullptr;  ///< [rows][kFp16Columns]: added to
};

/// Largest magnitudes travel as FP32 bits with the sign off: their unsigned maximum keeps a NaN.
struct RowKernels {
  const char* name;

  uint32_t (*amax)(ConstRow x, int64_t cols);
  uint32_t (*stored_amax)(const StoredRow& x, int64_t n);
  /// largest[c] becomes max(largest[c], |x[r][c]|) over rows, `stride` elements apart, or a NaN among them.
  void (*column_amax)(ConstRow x, int64_t rows, int64_t stride, float* largest, int64_t cols);
  uint32_t (*quantize)(const QuantizeRow& row,
                       const CodeGrid& grid);            ///< returns the amax of x, if not bounded
  uint32_t (*convert)(ConstRow x, Row y, int64_t cols);  ///< returns the amax of x
  void (*dequantize)(const uint8_t* codes, const float* table, float scale, Row y, int64_t cols);
  uint32_t (*decode)(const StoredRow& x, float* out, int64_t n);  ///< returns the amax
  /// How many codes (8 or 16 bits) are `magnitude` with either sign.
  int64_t (*count_codes)(const void* codes, int bits, uint32_t magnitude, int64_t n);

  void (*round_fp16)(float* x, int64_t n);  ///< to the numbers of FP16, nearest even; beyond them infinity
  void (*sum_fp16)(const Fp16SumBlock& block);

  uint32_t (*norm_forward)(NormForwardRow& row);  ///< returns the amax of y
  /// y from x and the statistics alone, to the same bits; any stretch of a row (gamma and beta from there
  /// on).
  uint32_t (*norm_apply)(const NormForwardRow& row);
  void (*norm_backward)(const NormBackwardRow& row);
  uint32_t (*activation_forward)(const ActivationForwardRow& row);  ///< returns the amax of y
  void (*activation_backward)(ActivationBackwardRow& row);

  /// heads * head_dim elements; cos and sin [head_dim / 2].
  void (*rope)(Row x, int64_t heads, int64_t head_dim, const float* cos, const float* sin, bool inverse);

  /// The largest element (NaN ignored) and the sum of exp(x - max).
  void (*softmax_stats)(ConstRow x, int64_t cols, float* max, float* sum);
  /// x = exp(x - max) * factor.
  void (*softmax_apply)(Row x, int64_t cols, float max, float factor);

  void (*add)(ConstRow a, ConstRow b, Row y, int64_t cols);  ///< y = a + b
  void (*accumulate)(ConstRow x, float* sum, int64_t cols);  ///< sum += x
  /// sum[c] += sum over rows of x[r][c]; rows are `stride` elements apart.
  void (*column_sum)(ConstRow x, int64_t rows, int64_t stride, float* sum, int64_t cols);
  double (*sum_squares)(const StoredRow& x, int64_t n);
  void (*sum_codes)(SumRow& row);
  void (*adamw)(const AdamWStep& step, OptimizerRow& row);
  /// adamw() on the formats of FP8-LM (weight fp16, grad e4m3, moment1 e4m3, moment2 fp16), straight to
  /// codes. False when it cannot: another format or a scale is no power of two, an input is NaN, a result is
  /// beyond the end of its format; nothing that was written then counts. nullptr: no such way.
  bool (*adamw_fp8lm)(const AdamWStep& step, OptimizerRow& row, const Fp8LmCodes& out);
  /// out[n] = E4M3 codes, to nearest even, of FP16 numbers times 2^-octaves, which are at most 448; octaves
  /// >= -4. nullptr: no such way.
  void (*fp16_to_e4m3)(const uint16_t* x, int octaves, uint8_t* out, int64_t n);
  void (*adamw_moments)(const AdamWStep& step, OptimizerRow& row);  ///< only the amaxes of the moments
  void (*lion)(const LionStep& step, OptimizerRow& row);
  void (*lion_moment)(const LionStep& step, OptimizerRow& row);
};

}  // namespace octavo
