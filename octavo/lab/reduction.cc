// SPDX-License-Identifier: Apache-2.0
#include "octavo/lab/reduction.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "octavo/base/error.h"
#include "octavo/numerics/decode.h"
#include "octavo/recipe/scaler.h"

namespace octavo {
namespace {

bool adapts(ReduceScheme scheme) {
  return scheme == ReduceScheme::factor || scheme == ReduceScheme::absolute;
}

/// The rule of the recipe's gradients under a scheme.
RoleSpec rule_of(ReduceScheme scheme, RoleSpec rule) {
  rule.scaling.kind = adapts(scheme) ? ScalingKind::automatic : ScalingKind::current;
  rule.scaling.reading = scheme == ReduceScheme::absolute ? Reading::absolute : Reading::factor;
  return rule;
}

double division_of(ReduceScheme scheme, int ranks) {
  if (scheme == ReduceScheme::pre) return ranks;
  return scheme == ReduceScheme::rsqrt ? std::sqrt(static_cast<double>(ranks)) : 1;
}

/// As training counts it: after the sum, rounded partial sums included, or on each rank.
double saturated_share(const ReductionFigures& f, CodeSum sum, Counting count) {
  if (count == Counting::local)
    return static_cast<double>(f.local_saturated) / static_cast<double>(f.local_codes);
  return static_cast<double>(sum == CodeSum::fp32 ? f.saturated : f.additions_saturated) /
         static_cast<double>(f.codes);
}

}  // namespace

const char* to_string(ReduceScheme scheme) {
  constexpr const char* words[] = {"pre", "post", "1/sqrt(N)", "auto, factor", "auto, absolute"};
  return words[static_cast<size_t>(scheme)];
}

const char* to_string(CodeSum sum) {
  constexpr const char* words[] = {"fp32", "fp8-chain", "fp8-tree"};
  return words[static_cast<size_t>(sum)];
}

double ReductionFigures::snr_db() const {
  return error == 0 ? std::numeric_limits<double>::infinity() : 10 * std::log10(signal / error);
}

ReductionFigures& ReductionFigures::operator+=(const ReductionFigures& other) {
  signal += other.signal;
  error += other.error;
  for (int64_t ReductionFigures::*count :
       {&ReductionFigures::sums, &ReductionFigures::sums_lost, &ReductionFigures::sums_unsent,
        &ReductionFigures::sent, &ReductionFigures::sent_lost, &ReductionFigures::codes,
        &ReductionFigures::saturated, &ReductionFigures::additions, &ReductionFigures::additions_saturated,
        &ReductionFigures::local_codes, &ReductionFigures::local_saturated})
    this->*count += other.*count;
  return *this;
}

RankGradients::RankGradients(std::vector<const float*> ranks, int64_t size, ThreadPool& pool)
    : ranks_(std::move(ranks)), size_(size), pool_(pool), exact_(static_cast<size_t>(size)) {
  for (const float* gradient : ranks_) {
    amaxes_.push_back(amax({const_cast<float*>(gradient)}, size, pool));
    for (int64_t i = 0; i < size; ++i) exact_[static_cast<size_t>(i)] += double{gradient[i]};
  }
}

const std::array<ReductionFigures, kCodeSums.size()>& RankGradients::reduce(const RoleSpec& rule, float mu,
                                                                            double division) {
  std::vector<float> scales;
  for (const float largest : amaxes_)
    scales.push_back(scale_from_amax(rule, largest / mu).value_or(0x1p-126f));
  const float shared = static_cast<float>(*std::max_element(scales.begin(), scales.end()) * division);
  const auto [entry, is_new] = known_.try_emplace({scales, shared});
  std::array<ReductionFigures, kCodeSums.size()>& out = entry->second;
  if (!is_new) return out;

  const size_t element = static_cast<size_t>(bytes(rule.format)), n = static_cast<size_t>(size_);
  std::vector<std::byte> wire(ranks_.size() * n * element), local(n * element), result(n * element);
  std::vector<float> decoded(n);
  std::vector<const void*> parts;
  std::vector<char> was_sent(n);
  ReductionFigures common;
  for (const double sum : exact_) {
    common.signal += sum * sum;
    common.sums += sum != 0;
  }
  common.codes = size_;
  for (size_t r = 0; r < ranks_.size(); ++r) {
    const CodeRule cast{rule.rounding, rule.overflow, r, 0};
    const Stored sent{wire.data() + r * n * element, rule.format, shared};
    const Stored own = scales[r] == shared ? sent : Stored{local.data(), rule.format, scales[r]};
    common.local_saturated += encode(ranks_[r], size_, own, cast, pool_).saturated;
    common.local_codes += size_;
    if (own.data != sent.data) recode(own, size_, sent, cast, pool_);
    decode(sent, size_, decoded.data(), pool_);
    for (size_t i = 0; i < n; ++i) {
      const bool something = ranks_[r][i] != 0;
      common.sent += something;
      common.sent_lost += something && decoded[i] == 0;
      was_sent[i] |= decoded[i] != 0;
    }
    parts.push_back(sent.data);
  }
  for (size_t s = 0; s < kCodeSums.size(); ++s) {
    ReductionFigures& f = out[s] = common;
    const Encoded sum =
        sum_codes(parts, rule.format, size_, kCodeSums[s], 1.0f, {result.data(), rule.format, 1},
                  {rule.rounding, rule.overflow, 0, 0}, pool_);
    values_[s].resize(n);
    decode({result.data(), rule.format, shared}, size_, values_[s].data(), pool_);
    const double largest = max_finite(rule.format) * double{shared};
    for (size_t i = 0; i < n; ++i) {
      const double value = values_[s][i], distance = value - exact_[i];
      f.error += distance * distance;
      const bool lost = exact_[i] != 0 && value == 0;
      f.sums_lost += lost;
      f.sums_unsent += lost && !was_sent[i];
      f.saturated += std::fabs(value) >= largest;
    }
    if (kCodeSums[s] == CodeSum::fp32) continue;
    f.additions = size_ * (static_cast<int64_t>(ranks_.size()) - 1);
    f.additions_saturated = sum.saturated;
  }
  return out;
}

void FactorTrack::add(float mu, bool dropped) {
  const double exponent = std::log2(double{mu});
  low = entries == 0 ? exponent : std::min(low, exponent);
  high = entries == 0 ? exponent : std::max(high, exponent);
  sum += exponent;
  ++entries;
  drops += dropped;
}

namespace {

/// One layer by one scheme and sum: steps over the gradients at hand, of which the second half counts.
void run_steps(std::span<RankGradients> gradients, const LayerGradients& layer, int64_t count,
               ReductionRow& row) {
  const RoleSpec rule = rule_of(row.scheme, layer.rule);
  const double division = division_of(row.scheme, row.ranks);
  Scaler scaler;
  const Scaler::Slot slot = scaler.add(layer.name, rule);
  // Without a factor all rounds are equal.
  if (!adapts(row.scheme)) count = 2 * static_cast<int64_t>(gradients.size());
  ReductionFigures sum;
  for (int64_t i = 0; i < count; ++i) {
    const float mu = scaler.mu(slot);
    RankGradients& step = gradients[static_cast<size_t>(i) % gradients.size()];
    const ReductionFigures& f = step.reduce(rule, mu, division)[static_cast<size_t>(row.sum)];
    const bool counts = i >= count - count / 2;
    if (counts) sum += f;
    if (!adapts(row.scheme)) continue;
    const double saturated = saturated_share(f, row.sum, rule.scaling.count);
    scaler.adapt(slot, saturated);
    if (counts) row.mu.add(mu, saturated > rule.scaling.threshold);
  }
  row.blocks[static_cast<size_t>(layer.block)] += sum;
  row.all += sum;
}

}  // namespace

void reduce_layers(std::span<const LayerGradients> layers, const ReductionPlan& plan, ThreadPool& pool,
                   ReductionResult& result, const std::function<void(const std::string&)>& progress) {
  size_t blocks = 0;
  for (const LayerGradients& layer : layers) {
    blocks = std::max(blocks, static_cast<size_t>(layer.block) + 1);
    result.elements += layer.size;
  }
  result.tensors = static_cast<int64_t>(layers.size());
  result.steps = plan.steps;
  for (const int ranks : plan.ranks) {
    const auto there = static_cast<int64_t>(layers.front().of_batch.size()), steps = there / ranks;
    if (ranks < 2 || steps < 1)
      fail_usage(
          fmt::format("{} ranks cannot be made of {} micro-batches; 2 to {} can", ranks, there, there));
    result.batches.emplace_back(ranks, std::min(steps, kDistinctSteps));
    const size_t first = result.rows.size();
    for (const CodeSum sum : kCodeSums)
      for (const ReduceScheme scheme : kReduceSchemes)
        result.rows.push_back({ranks, scheme, sum, std::vector<ReductionFigures>(blocks), {}, {}});
    for (const LayerGradients& layer : layers) {
      if (progress) progress(fmt::format("{} ranks: {}", ranks, layer.name));
      std::vector<RankGradients> gradients;
      for (int64_t step = 0; step < result.batches.back().second; ++step) {
        std::vector<const float*> of_rank;
        for (int r = 0; r < ranks; ++r)
          of_rank.push_back(layer.of_batch[static_cast<size_t>(step * ranks + r)].data());
        gradients.emplace_back(std::move(of_rank), layer.size, pool);
      }
      for (size_t row = first; row < result.rows.size(); ++row)
        run_steps(gradients, layer, plan.steps, result.rows[row]);
    }
  }
}

}  // namespace octavo
