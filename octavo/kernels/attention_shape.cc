// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/attention_shape.h"

#include <charconv>
#include <cmath>

#include "octavo/base/error.h"

namespace octavo {
namespace {

/// Of one product.
double flops(const AttentionShape& s) {
  const double seen = static_cast<double>(s.q_len) *
                      (static_cast<double>(s.kv_len - s.q_len) + 0.5 * static_cast<double>(s.q_len + 1));
  return 2 * static_cast<double>(s.batch * s.heads * s.head_dim) * seen;
}

}  // namespace

AttentionShape parse_attention_shape(const std::string& text, const std::string& what) {
  constexpr int64_t kMost = 1 << 20;
  AttentionShape s;
  struct {
    char letter;
    int64_t* value;
  } const parts[] = {
      {'b', &s.batch}, {'h', &s.heads}, {'k', &s.kv_heads}, {'t', &s.q_len}, {'d', &s.head_dim}};
  const char *at = text.data(), *end = at + text.size();
  bool good = true;
  for (const auto& part : parts) {
    if (!good || at == end || *at != part.letter) {
      good = false;
      break;
    }
    const auto [next, error] = std::from_chars(at + 1, end, *part.value);
    good = error == std::errc() && *part.value > 0 && *part.value <= kMost;
    at = next;
  }
  if (!good || at != end || s.heads % s.kv_heads != 0)
    fail_usage(what + ": '" + text +
               "' is not a problem of attention, expected batch, heads, key/value heads (a " +
               "divisor), tokens and head_dim such as b4h12k12t1024d64");
  s.kv_len = s.q_len;
  s.scale = 1.0f / std::sqrt(static_cast<float>(s.head_dim));
  return s;
}

std::string to_string(const AttentionShape& s) {
  return "b" + std::to_string(s.batch) + "h" + std::to_string(s.heads) + "k" + std::to_string(s.kv_heads) +
         "t" + std::to_string(s.q_len) + "d" + std::to_string(s.head_dim);
}

double attention_forward_flops(const AttentionShape& shape) { return 2 * flops(shape); }
double attention_backward_flops(const AttentionShape& shape) { return 5 * flops(shape); }

}  // namespace octavo
