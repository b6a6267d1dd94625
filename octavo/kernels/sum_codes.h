#pragma once
#include <span>
#include <vector>
#include "octavo/kernels/stored.h"
namespace octavo {
enum class CodeSum { fp32, chain, tree };
inline Encoded sum_codes(std::span<const void* const> parts, Format format, int64_t n, CodeSum how, float factor, const Stored& out, const CodeRule& rule, ThreadPool& pool) {
  std::vector<float> sum(n), x(n);
  for (auto* p : parts) { decode({const_cast<void*>(p), format, 1}, n, x.data(), pool); for (int64_t i=0;i<n;++i) sum[i]+=x[i]; }
  for (float& s : sum) s *= factor;
  return encode(sum.data(), n, out, rule, pool);
}
}
