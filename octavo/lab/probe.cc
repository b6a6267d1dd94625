// SPDX-License-Identifier: Apache-2.0
#include "octavo/lab/probe.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "octavo/kernels/loss.h"
#include "octavo/numerics/bf16.h"

namespace octavo {
namespace {

double value_at(const ConstMatrix& m, int64_t r, int64_t c) {
  if (m.format == Format::bf16)
    return static_cast<double>(bf16_to_float(reinterpret_cast<const uint16_t*>(m.row(r))[c]));
  return static_cast<double>(reinterpret_cast<const float*>(m.row(r))[c]);
}

/// Power sums, in double.
struct Moments {
  double count = 0, first = 0, second = 0, fourth = 0, largest = 0;
  void add(double x) {
    ++count;
    first += x;
    second += x * x;
    fourth += x * x * x * x;
    largest = std::max(largest, std::fabs(x));
  }
  double variance() const { return second / count - first / count * (first / count); }
};

class Recorder : public Probe {
 public:
  Recorder(ProbeResult& result, int64_t seq) : result_(result), seq_(seq) {}

  void see(const std::string& place, ConstMatrix values) override {
    const bool heads = place.ends_with(".heads");
    Moments all;
    std::vector<Moments> positions(static_cast<size_t>(heads ? seq_ : 0));
    for (int64_t r = 0; r < values.rows; ++r)
      for (int64_t c = 0; c < values.cols; ++c) {
        const double x = value_at(values, r, c);
        all.add(x);
        if (heads) positions[static_cast<size_t>(r % seq_)].add(x);
      }
    ProbedTensor t;
    t.place = place;
    t.rms = std::sqrt(all.second / all.count);
    t.variance = all.variance();
    t.kurtosis = all.count * all.fourth / (all.second * all.second);
    t.peak = all.largest / t.rms;
    result_.tensors.push_back(t);
    if (!heads) return;
    PositionVariance curve{place, {}};
    for (const Moments& m : positions) curve.variance.push_back(m.variance());
    result_.attention.push_back(std::move(curve));
  }

 private:
  ProbeResult& result_;
  int64_t seq_;
};

}  // namespace

ProbeResult probe_model(Transformer& model, const Batch& batch, const int32_t* targets, double loss_scale) {
  ProbeResult result;
  Recorder recorder(result, batch.seq);
  const int64_t counted = batch.rows() - std::count(targets, targets + batch.rows(), kIgnoreTarget);
  model.parameters().zero_gradients(model.pass().pool);
  model.pass().probe = &recorder;
  const LossSum sum =
      model.train(batch, targets, static_cast<float>(loss_scale / static_cast<double>(counted)));
  model.pass().probe = nullptr;
  result.loss = sum.loss / static_cast<double>(sum.tokens);
  return result;
}

double attention_variance(int64_t k) {
  const double n = static_cast<double>(k), e = std::numbers::e;
  return e / n - (e - 1) / (n * n);
}

std::string to_text(const ProbeResult& result) {
  std::string out =
      fmt::format("{:<44} {:>10} {:>10} {:>9} {:>9}\n", "values", "rms", "variance", "kurtosis", "max/rms");
  for (const ProbedTensor& t : result.tensors)
    out += fmt::format("{:<44} {:>10.4g} {:>10.4g} {:>9.2f} {:>9.1f}\n", t.place, t.rms, t.variance,
                       t.kurtosis, t.peak);
  out += fmt::format("\nloss {:.4f}; variance of the attention output by position\n{:<44}", result.loss, "");
  std::vector<int64_t> columns;
  const int64_t seq =
      result.attention.empty() ? 0 : static_cast<int64_t>(result.attention[0].variance.size());
  for (int64_t k = 1; k <= seq; k *= 4) columns.push_back(k);
  if (seq > 0 && columns.back() != seq) columns.push_back(seq);
  for (const int64_t k : columns) out += fmt::format(" {:>8}", k);
  for (const PositionVariance& curve : result.attention) {
    out += fmt::format("\n{:<44}", curve.place);
    for (const int64_t k : columns)
      out += fmt::format(" {:>8.4f}", curve.variance[static_cast<size_t>(k - 1)]);
  }
  out += fmt::format("\n{:<44}", "e/k - (e-1)/k^2");
  for (const int64_t k : columns) out += fmt::format(" {:>8.4f}", attention_variance(k));
  return out + "\n";
}

std::string to_json(const ProbeResult& result) {
  nlohmann::ordered_json j;
  j["schema"] = "octavo-probe-1";
  j["loss"] = result.loss;
  for (const ProbedTensor& t : result.tensors)
    j["tensors"].push_back({{"place", t.place},
                            {"rms", t.rms},
                            {"variance", t.variance},
                            {"kurtosis", t.kurtosis},
                            {"peak", t.peak}});
  for (const PositionVariance& c : result.attention)
    j["attention"].push_back({{"place", c.place}, {"variance", c.variance}});
  return j.dump();
}

}  // namespace octavo
