// SPDX-License-Identifier: Apache-2.0
// All row kernels, written once. Included inside an instruction set's namespace, after its simd header.
// Lambdas must be inlined: a vector type passed to an ordinary function would go through memory.
#define OCTAVO_LAMBDA __attribute__((always_inline))

#include "octavo/kernels/x86/rows_common-inl.h"
#include "octavo/kernels/x86/rows_quantize-inl.h"
#include "octavo/kernels/x86/rows_stored-inl.h"

// On top of it, in any order.
#include "octavo/kernels/x86/rows_activation-inl.h"
#include "octavo/kernels/x86/rows_fp16-inl.h"
#include "octavo/kernels/x86/rows_norm-inl.h"
#include "octavo/kernels/x86/rows_optimizer-inl.h"
#include "octavo/kernels/x86/rows_sum-inl.h"
#include "octavo/kernels/x86/rows_vector-inl.h"

constexpr RowKernels row_kernels(const char* name) {
  return {
      .name = name,
      .amax = amax,
      .stored_amax = stored_amax,
      .column_amax = column_amax,
      .quantize = quantize,
      .convert = convert,
      .dequantize = dequantize,
      .decode = decode,
      .count_codes = count_codes,
      .round_fp16 = round_fp16,
      .sum_fp16 = sum_fp16,
      .norm_forward = norm_forward,
      .norm_apply = norm_apply,
      .norm_backward = norm_backward,
      .activation_forward = activation_forward,
      .activation_backward = activation_backward,
      .rope = rope,
      .softmax_stats = softmax_stats,
      .softmax_apply = softmax_apply,
      .add = add,
      .accumulate = accumulate,
      .column_sum = column_sum,
      .sum_squares = sum_squares,
      .sum_codes = sum_codes,
      .adamw = adamw,
      .adamw_fp8lm = adamw_fp8lm,
      .fp16_to_e4m3 = nullptr,
      .adamw_moments = adamw_moments,
      .lion = lion,
      .lion_moment = lion_moment,
  };
}
