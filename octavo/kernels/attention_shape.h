// SPDX-License-Identifier: Apache-2.0
// One way to write a problem of attention down, for benchmarks and tests.
#pragma once
#include <string>

#include "octavo/kernels/attention.h"

namespace octavo {

/// "b4h12k12t1024d64": batch, heads, key/value heads, tokens, head_dim; all of training (q_len == kv_len),
/// scaled by 1/sqrt(head_dim). Throws usage on anything else, with `what` (the flag) in front.
AttentionShape parse_attention_shape(const std::string& text, const std::string& what);

/// The opposite.
std::string to_string(const AttentionShape& shape);

/// Additions and multiplications of both passes: two products forward and five backward, of what queries see
/// only. Softmax is not counted.
double attention_forward_flops(const AttentionShape& shape);
double attention_backward_flops(const AttentionShape& shape);

}  // namespace octavo
