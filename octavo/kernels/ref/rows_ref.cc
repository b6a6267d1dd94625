// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/ref/rows_ref.h"

namespace octavo {

const RowKernels kRowKernelsRef = {
    .name = "ref",
    .amax = amax_ref,
    .stored_amax = stored_amax_ref,
    .column_amax = column_amax_ref,
    .quantize = quantize_ref,
    .convert = convert_ref,
    .dequantize = dequantize_ref,
    .decode = decode_ref,
    .count_codes = count_codes_ref,
    .round_fp16 = round_fp16_ref,
    .sum_fp16 = sum_fp16_ref,
    .norm_forward = norm_forward_ref,
    .norm_apply = norm_apply_ref,
    .norm_backward = norm_backward_ref,
    .activation_forward = activation_forward_ref,
    .activation_backward = activation_backward_ref,
    .rope = rope_ref,
    .softmax_stats = softmax_stats_ref,
    .softmax_apply = softmax_apply_ref,
    .add = add_ref,
    .accumulate = accumulate_ref,
    .column_sum = column_sum_ref,
    .sum_squares = sum_squares_ref,
    .sum_codes = sum_codes_ref,
    .adamw = adamw_ref,
    .adamw_fp8lm = nullptr,
    .fp16_to_e4m3 = nullptr,
    .adamw_moments = adamw_moments_ref,
    .lion = lion_ref,
    .lion_moment = lion_moment_ref,
};

}  // namespace octavo
