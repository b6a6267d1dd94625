// SPDX-License-Identifier: Apache-2.0
// What a logged step says of stored gradients, masters and moments is what happened to them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "nn/nn_testing.h"
#include "octavo/train/optimizer.h"

namespace octavo {
namespace {

bool is_matrix(const Parameter& p) { return p.name.ends_with(".weight") && p.decay; }

using Lines = std::map<std::pair<std::string, std::string>, TensorRecord>;  // by tensor and role

std::vector<float> values(const StateTensor& state, ThreadPool& pool) {
  std::vector<float> out(static_cast<size_t>(state.part.count));
  decode(state.at, state.part.count, out.data(), pool);
  return out;
}

struct TwoSteps {
  TestModel m;
  Lines lines;
  RunConfig::Optim optim;
  std::map<std::string, std::vector<float>> moment2, gradient, master;  // from before the second step

  TwoSteps(const Recipe& recipe, bool record) : m(larger(tiny_gpt2()), recipe, {2, 21, 0}) {
    optim.clip = 0;
    optim.weight_decay = 0;
    const TestBatch batch(m.model.config(), 2, 21);
    std::vector<TensorRecord> records;
    for (int64_t step = 1; step <= 2; ++step) {
      m.model.parameters().zero_gradients(m.pool);
      if (record && step == 2) m.model.pass().records = &records;
      m.train(batch);
      for (const Parameter& p : m.model.parameters().all()) {
        moment2[p.name] = values(p.moment2, m.pool);
        gradient[p.name] = values(p.weight_grad, m.pool);
        master[p.name] = values(p.master, m.pool);
      }
      Optimizer(optim).step(m.model, step, 1, 1);
      m.model.refresh_weights();
      m.model.pass().records = nullptr;
    }
    for (const TensorRecord& line : records) lines[{line.tensor, line.role}] = line;
  }
};

TEST(StateWatch, SaysWhatAnUpdateLost) {
  const Recipe recipe = load_recipe("fp8-lm-o2", {"store.moment2.format=e4m3"});
  const TwoSteps run(recipe, true);
  int scaled = 0;
  double most = 0;
  for (const Parameter& p : run.m.model.parameters().all()) {
    if (!is_matrix(p)) continue;
    SCOPED_TRACE(p.name);
    const std::string layer = p.name.substr(0, p.name.rfind('.'));
    const auto line = run.lines.find({layer, "store.moment2"});
    ASSERT_EQ(line != run.lines.end(), carries_scale(p.moment2.spec.format));
    if (line == run.lines.end()) continue;
    ++scaled;
    const TensorRecord& r = line->second;
    EXPECT_EQ(r.format, "e4m3");
    EXPECT_EQ(r.scale_exponent, std::log2(double{p.moment2.at.scale}));
    // The new moment in double; what is nearer to zero than to the smallest code is lost.
    const double smallest = 0x1p-9 * double{p.moment2.at.scale};
    int64_t there = 0, lost = 0, unclear = 0;
    double largest = 0;
    const std::vector<float>&v = run.moment2.at(p.name), &g = run.gradient.at(p.name);
    for (size_t i = 0; i < v.size(); ++i) {
      const double now = 0.95 * double{v[i]} + 0.05 * double{g[i]} * double{g[i]};
      largest = std::max(largest, now);
      there += now > 0x1p-149;
      lost += now > 0x1p-149 && now < smallest / 2;
      unclear += std::fabs(now / smallest - 0.5) < 1e-4;
    }
    EXPECT_NEAR(r.amax, largest, 1e-5 * largest);
    EXPECT_NEAR(r.underflow * static_cast<double>(there), static_cast<double>(lost),
                static_cast<double>(unclear) + 0.01);
    most = std::max(most, r.underflow);
    EXPECT_FALSE(r.mu || r.at_largest || r.update_amax);
  }
  EXPECT_EQ(scaled, 4 * run.m.model.config().layers);
  EXPECT_GT(most, 0.01) << "a test of zeros tests nothing";
}

TEST(StateWatch, SaysHowFarWeightsMove) {
  const TwoSteps run(load_recipe("fp8-lm-o2"), true);
  ThreadPool pool(1);
  int seen = 0;
  for (const Parameter& p : run.m.model.parameters().all()) {
    const auto line = run.lines.find({p.name.substr(0, p.name.rfind('.')), "store.master"});
    if (!is_matrix(p) || line == run.lines.end()) continue;
    const std::vector<float> now = values(p.master, pool);
    double most = 0;
    for (size_t i = 0; i < now.size(); ++i)
      most = std::max(most, std::fabs(double{now[i]} - double{run.master.at(p.name)[i]}));
    ASSERT_TRUE(line->second.update_amax);
    // Weights are rounded to FP16: the largest by half of 2^-10 of it.
    EXPECT_NEAR(*line->second.update_amax, most, 0x1p-11 * line->second.amax) << p.name;
    EXPECT_LT(0x1p-11 * line->second.amax, 0.2 * most);
    EXPECT_GT(line->second.snr_db, 60) << "FP16";
    ++seen;
  }
  EXPECT_EQ(seen, 4 * run.m.model.config().layers);
}

TEST(StateWatch, GradientsTellTheirFactorAndChangeNothing) {
  const Recipe recipe = load_recipe("fp8-lm-o2");
  const TwoSteps watched(recipe, true), quiet(recipe, false);
  EXPECT_TRUE(quiet.lines.empty());
  int seen = 0;
  for (const Parameter& p : watched.m.model.parameters().all()) {
    const auto line = watched.lines.find({p.name.substr(0, p.name.rfind('.')), "store.weight_grad"});
    if (is_matrix(p) && line != watched.lines.end()) {
      ++seen;
      ASSERT_TRUE(line->second.mu);
      EXPECT_EQ(*line->second.mu, 1) << "nothing adapts it here";
      EXPECT_GT(line->second.snr_db, 25);
    }
  }
  EXPECT_EQ(seen, 4 * watched.m.model.config().layers);
  EXPECT_EQ(watched.moment2, quiet.moment2);
  EXPECT_EQ(watched.gradient, quiet.gradient);
  EXPECT_EQ(watched.master, quiet.master);
  const auto& a = watched.m.model.parameters().all();
  const auto& b = quiet.m.model.parameters().all();
  for (size_t i = 0; i < a.size(); ++i)
    EXPECT_EQ(std::memcmp(a[i].master.at.data, b[i].master.at.data, a[i].master.bytes()), 0) << a[i].name;
}

}  // namespace
}  // namespace octavo
