// SPDX-License-Identifier: Apache-2.0
#include "octavo/train/state_watch.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <type_traits>

#include "octavo/nn/state_record.h"

namespace octavo {

StateWatch::Before StateWatch::copy(const Parameter& p, const StateTensor& state) {
  Before out;
  if (!state.at.data) return out;
  out.at = state.from(p.owned.first);
  const size_t size = static_cast<size_t>(p.owned.count * bytes(out.at.format));
  out.bytes.resize(size);
  std::memcpy(out.bytes.data(), out.at.data, size);
  return out;
}

StateWatch::StateWatch(const Parameter& p, const Pass& pass) {
  if (!pass.records) return;
  for (const StateTensor* t : {&p.master, &p.moment1, &p.moment2})
    active_ |= t->at.data && carries_scale(t->spec.format);
  if (!active_) return;
  master_ = copy(p, p.master);
  moment1_ = copy(p, p.moment1);
  moment2_ = copy(p, p.moment2);
}

template <class Params>
void StateWatch::record(const Params& params, const Parameter& p, Pass& pass, ThreadPool& pool) const {
  if (!active_) return;
  constexpr int64_t kPiece = int64_t{1} << 16;
  std::vector<float> weight(kPiece), before(kPiece), grad(kPiece), moment1(kPiece), moment2(kPiece);
  const auto read = [&](const Before& b, int64_t first, int64_t n, std::vector<float>& out) {
    if (!b.bytes.empty())
      decode(from({const_cast<std::byte*>(b.bytes.data()), b.at.format, b.at.scale}, first), n, out.data(),
             pool);
  };
  std::optional<CastRecord> master, first_moment, second_moment;
  const auto begin = [&](std::optional<CastRecord>& cast, const StateTensor& t, Role role) {
    if (t.at.data && carries_scale(t.spec.format)) cast.emplace(t, role, p.name);
  };
  begin(master, p.master, Role::store_master);
  begin(first_moment, p.moment1, Role::store_moment1);
  begin(second_moment, p.moment2, Role::store_moment2);
  double largest_update = 0;
  for (int64_t first = 0; first < p.owned.count; first += kPiece) {
    const int64_t n = std::min(kPiece, p.owned.count - first);
    read(master_, first, n, weight);
    read(moment1_, first, n, moment1);
    read(moment2_, first, n, moment2);
    decode(p.gradient().from(p.owned.first + first), n, grad.data(), pool);
    std::copy_n(weight.begin(), n, before.begin());
    if constexpr (std::is_same_v<Params, AdamWParams>)
      adamw(params, weight.data(), grad.data(), moment1.data(), moment2.data(), n, nullptr, pool);
    else
      lion(params, weight.data(), grad.data(), moment1.data(), n, nullptr, pool);
    for (size_t i = 0; i < static_cast<size_t>(n); ++i)
      largest_update = std::max(largest_update, std::fabs(double{weight[i]} - double{before[i]}));
    if (master) master->add(weight.data(), n, pool);
    if (first_moment) first_moment->add(moment1.data(), n, pool);
    if (second_moment) second_moment->add(moment2.data(), n, pool);
  }
  for (const auto* cast : {&master, &first_moment, &second_moment})
    if (*cast) pass.records->push_back((*cast)->record());
  // With the first of them, for masters may be wide.
  const size_t lines = size_t{master.has_value()} + first_moment.has_value() + second_moment.has_value();
  pass.records->at(pass.records->size() - lines).update_amax = largest_update;
}

template void StateWatch::record(const AdamWParams&, const Parameter&, Pass&, ThreadPool&) const;
template void StateWatch::record(const LionParams&, const Parameter&, Pass&, ThreadPool&) const;

}  // namespace octavo
