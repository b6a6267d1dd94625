// SPDX-License-Identifier: Apache-2.0
#include "octavo/nn/state_record.h"

#include <algorithm>
#include <string_view>

namespace octavo {

std::string layer_name(const std::string& parameter) {
  constexpr std::string_view kEnd = ".weight";
  return parameter.ends_with(kEnd) ? parameter.substr(0, parameter.size() - kEnd.size()) : parameter;
}

CastRecord::CastRecord(const StateTensor& state, Role role, const std::string& parameter) : state_(state) {
  line_.tensor = layer_name(parameter);
  line_.role = role_path(role);
  line_.format = to_string(state.spec.format);
}

void CastRecord::add(const float* values, int64_t count, ThreadPool& pool) {
  constexpr int64_t kPiece = int64_t{1} << 16;
  codes_.resize(static_cast<size_t>(std::min(kPiece, count) * bytes(state_.spec.format)));
  for (int64_t first = 0; first < count; first += kPiece) {
    const int64_t n = std::min(kPiece, count - first);
    float largest = 0;
    QuantizeArgs args;
    args.x = ConstMatrix{values + first, Format::fp32, 1, n, n};
    args.out.codes = Matrix{codes_.data(), state_.spec.format, 1, n, n};
    args.out.scale = &state_.at.scale;
    args.out.rounding = state_.spec.rounding;
    args.out.overflow = state_.spec.overflow;
    args.amax = &largest;
    args.stats = &stats_;
    quantize(args, pool);
    line_.amax = std::max(line_.amax, double{largest});
  }
}

TensorRecord CastRecord::record() const {
  TensorRecord line = line_;
  fill_record(line, stats_, state_.at.scale);
  return line;
}

}  // namespace octavo
