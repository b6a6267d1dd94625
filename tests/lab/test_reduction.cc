// SPDX-License-Identifier: Apache-2.0
// Sums of gradients as codes: values worked out by hand where a division before the sum loses small ones and
// one after it the largest, and what automatic scaling does about both.
#include "octavo/lab/reduction.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "error_of.h"
#include "octavo/base/rng.h"
#include "octavo/comm/make_communicator.h"
#include "octavo/recipe/recipe_file.h"
#include "octavo/train/data_parallel.h"

namespace octavo {
namespace {

using Values = std::vector<float>;
constexpr size_t kFp32 = 0, kChain = 1, kTree = 2;

RoleSpec rule(ScalingKind kind) {
  RoleSpec spec = load_recipe("fp8-lm-o2").role(Role::comm_weight_grad);
  spec.scaling.kind = kind;
  return spec;
}

class Reduction : public testing::Test {
 protected:
  RankGradients ranks(std::vector<Values> values) {
    values_ = std::move(values);
    std::vector<const float*> of_rank;
    for (const Values& v : values_) of_rank.push_back(v.data());
    return RankGradients(of_rank, static_cast<int64_t>(values_[0].size()), pool_);
  }
  LayerGradients layer(std::vector<Values> values) {
    const auto size = static_cast<int64_t>(values[0].size());
    return {"model.layers.0.mlp.up_proj.weight", 0, size, rule(ScalingKind::automatic), std::move(values)};
  }
  ThreadPool pool_{1};
  std::vector<Values> values_;
};

// Four ranks with the same gradient. By current scaling its largest value, 256 = 2^8, has the scale 1; the
// smallest number of E4M3 is 2^-9.
const Values kGradient{256, 0x1p-8f, 0x1p-9f, 0};

TEST_F(Reduction, DividingBeforeLosesSmallValues) {
  RankGradients r = ranks({kGradient, kGradient, kGradient, kGradient});
  const ReductionFigures f = r.reduce(rule(ScalingKind::current), 1, 4)[kFp32];
  // By the scale 4: 2^-8 is half of the smallest number, a tie that goes to zero, and so is 2^-9.
  EXPECT_EQ(r.values()[kFp32], (Values{1024, 0, 0, 0}));
  EXPECT_EQ(f.sums, 3);
  EXPECT_EQ(f.sums_lost, 2);
  EXPECT_EQ(f.sums_unsent, 2);
  EXPECT_EQ(f.sent, 12);
  EXPECT_EQ(f.sent_lost, 8);
  EXPECT_EQ(f.saturated, 0);
  EXPECT_EQ(f.error, std::pow(0x1p-6, 2) + std::pow(0x1p-7, 2));
  EXPECT_EQ(f.signal, std::pow(1024.0, 2) + f.error);
}

TEST_F(Reduction, DividingAfterSaturates) {
  RankGradients r = ranks({kGradient, kGradient, kGradient, kGradient});
  const auto& all = r.reduce(rule(ScalingKind::current), 1, 1);
  for (const size_t sum : {kFp32, kChain, kTree}) {
    EXPECT_EQ(r.values()[sum], (Values{448, 0x1p-6f, 0x1p-7f, 0}));
    EXPECT_EQ(all[sum].sums_lost, 0);
    EXPECT_EQ(all[sum].saturated, 1);
    EXPECT_EQ(all[sum].error, std::pow(1024.0 - 448, 2));
  }
  // 256 + 256 saturates, and with it every later sum: three in a chain, two pairs and their sum in a tree.
  EXPECT_EQ(all[kChain].additions, 12);
  EXPECT_EQ(all[kChain].additions_saturated, 3);
  EXPECT_EQ(all[kTree].additions_saturated, 3);
  EXPECT_EQ(all[kFp32].additions, 0);
}

TEST_F(Reduction, RanksAgreeOnTheLargestScale) {
  // The second rank's own scale is 2^-8; by that of the first its 2^-9 is the smallest number and its 2^-10 a
  // tie that goes to zero, though its own codes held both.
  RankGradients r = ranks({{256, 0, 0}, {1, 0x1p-9f, 0x1p-10f}});
  const ReductionFigures f = r.reduce(rule(ScalingKind::current), 1, 1)[kFp32];
  EXPECT_EQ(r.values()[kFp32], (Values{256, 0x1p-9f, 0}));
  EXPECT_EQ(f.sent, 4);
  EXPECT_EQ(f.sent_lost, 1);
}

TEST_F(Reduction, WhatCancelsWasSent) {
  // 257 and 255 both round to 256; their difference is lost though both were sent.
  RankGradients r = ranks({{257, 0x1p-11f}, {-255, 0x1p-11f}});
  const ReductionFigures f = r.reduce(rule(ScalingKind::current), 1, 1)[kFp32];
  EXPECT_EQ(r.values()[kFp32], (Values{0, 0}));
  EXPECT_EQ(f.sums_lost, 2);
  EXPECT_EQ(f.sums_unsent, 1);
  EXPECT_EQ(f.sent_lost, 2);
}

TEST_F(Reduction, PartialSumsAreRoundedInTheirOrder) {
  // Between 16 and 32 the numbers are 2 apart: 16 + 1 is a tie that goes back to 16, as often as it is added.
  RankGradients r = ranks({{0, 16}, {0, 1}, {0, 1}, {256, 1}});
  r.reduce(rule(ScalingKind::current), 1, 1);
  EXPECT_EQ(r.values()[kFp32][1], 20);  // 19 is a tie between 18 and 20
  EXPECT_EQ(r.values()[kChain][1], 16);
  EXPECT_EQ(r.values()[kTree][1], 18);
}

TEST_F(Reduction, FactorLeavesHeadroomAndComesBack) {
  ReductionResult result;
  const std::vector<LayerGradients> layers{layer({kGradient, kGradient, kGradient, kGradient})};
  ReductionPlan plan;
  plan.ranks = {4};
  plan.steps = 4000;
  reduce_layers(layers, plan, pool_, result);
  ASSERT_EQ(result.rows.size(), 15u);
  const auto row = [&](ReduceScheme scheme) {
    return result.rows[static_cast<size_t>(scheme)];  // the first five are of fp32
  };
  EXPECT_EQ(row(ReduceScheme::pre).all.sums_lost, 2);
  EXPECT_EQ(row(ReduceScheme::post).all.saturated, 1);
  EXPECT_EQ(row(ReduceScheme::rsqrt).all.saturated, 1);  // by the scale 2 the sum is 512
  // The sum, 1024, fits by the scale 4, which is chosen up to mu = 256/896: log2 -1.807. From there a drop
  // leads to half of it, and a thousand steps to the next.
  const ReductionRow factor = row(ReduceScheme::factor);
  EXPECT_EQ(factor.mu.entries, 2000);
  EXPECT_EQ(factor.mu.drops, 2);
  EXPECT_NEAR(factor.mu.high, std::log2(256.0 / 896), 2e-3);
  EXPECT_NEAR(factor.mu.low, factor.mu.high - 1, 2e-3);
  EXPECT_EQ(factor.all.saturated, 2);
  // 1/2 is the least the other reading knows, which is not enough.
  const ReductionRow absolute = row(ReduceScheme::absolute);
  EXPECT_EQ(absolute.mu.drops, 2000);
  EXPECT_EQ(absolute.all.overflow(), 0.25);
}

TEST_F(Reduction, FiguresAreThoseOfTheValues) {
  const Rng rng(3);
  std::vector<Values> values(7, Values(300));
  uint64_t at = 0;
  for (Values& rank : values)
    for (float& v : rank) {
      v = static_cast<float>(rng.normal(at) * std::exp2(8 * rng.normal(at + 1)));
      at += 2;
    }
  RankGradients r = ranks(values);
  const auto all = r.reduce(rule(ScalingKind::automatic), 0.7f, 1);
  for (const size_t sum : {kFp32, kChain, kTree}) {
    double signal = 0, error = 0;
    for (size_t i = 0; i < 300; ++i) {
      double exact = 0;
      for (const Values& rank : values) exact += double{rank[i]};
      signal += exact * exact;
      error += std::pow(r.values()[sum][i] - exact, 2);
    }
    EXPECT_DOUBLE_EQ(all[sum].signal, signal);
    EXPECT_DOUBLE_EQ(all[sum].error, error);
  }
  EXPECT_GT(all[kFp32].snr_db(), 15);
}

// What is measured is what training does: codes and scales of its own reduction, bit for bit.
TEST_F(Reduction, IsThatOfTraining) {
  RunConfig config;
  config.model.context = 8;
  config.model.width = 32;
  config.model.layers = 1;
  config.model.heads = 2;
  config.parallel.logical_ranks = 5;
  const Rng rng(5);
  uint64_t at = 0;
  const auto compare = [&](const Recipe& recipe, double division, size_t sum) {
    CommThread comm(self_communicator);
    Transformer model(model_config(config, 40), recipe, Purpose::training, pool_);
    DataParallel parallel(model, make_ranks(5, 1, 0), config.parallel, 2, comm);
    Limits limits;
    limits.seq = 8;
    limits.state = parallel.layout();
    model.allocate(limits);
    parallel.bind();
    ParameterSet& parameters = model.parameters();
    for (int step = 0; step < 3; ++step) {  // automatic scaling: by another factor each time
      parallel.begin_step(step);
      std::map<std::string, std::vector<Values>> given;
      std::map<std::string, float> factors;
      for (int r = 0; r < 5; ++r) {
        parameters.use_replica(r);
        for (Parameter& p : parameters.all()) {
          Values& values = given[p.name].emplace_back(static_cast<size_t>(p.size()));
          for (float& v : values) v = static_cast<float>(rng.normal(at++) * std::exp2(-3.0 * r) + 0.01);
          if (p.wire_slot >= 0) factors[p.name] = model.scaler().mu(p.wire_slot);
          store(p.weight_grad, values.data(), std::nullopt, model.scaler(), 0, pool_);
        }
      }
      parallel.gradients_complete(0);
      parallel.finish_gradients();
      for (const Parameter& p : parameters.all())
        if (p.weight_grad.spec.scaling.kind == ScalingKind::automatic)
          model.scaler().adapt(p.weight_grad.slot,
                               static_cast<double>(p.grad_saturated) / static_cast<double>(p.size()));
      int compared = 0;
      for (const Parameter& p : parameters.all()) {
        if (p.wire_slot < 0) continue;
        std::vector<const float*> of_rank;
        for (const Values& v : given[p.name]) of_rank.push_back(v.data());
        RankGradients r(of_rank, p.size(), pool_);
        r.reduce(p.wire, factors[p.name], division);
        Values trained(static_cast<size_t>(p.size()));
        decode(p.weight_grad.at, p.size(), trained.data(), pool_);
        EXPECT_EQ(trained, r.values()[sum]) << recipe.name << ", step " << step << ", " << p.name;
        ++compared;
      }
      EXPECT_EQ(compared, 4);
    }
  };
  compare(load_recipe("fp8-lm-o2"), 1, kFp32);
  compare(load_recipe("fp8-lm-o2", {"reduce.sum=fp8-chain"}), 1, kChain);
  compare(load_recipe("fp8-lm-o2", {"reduce.sum=fp8-tree"}), 1, kTree);
  compare(load_recipe("fp8-lm-o2-msamp", {"reduce.gradient=pre", "reduce.sum=fp32"}), 5, kFp32);
  compare(load_recipe("fp8-lm-o2-msamp", {"reduce.gradient=rsqrt", "reduce.sum=fp32"}), std::sqrt(5.0),
          kFp32);
}

TEST_F(Reduction, OutputsHoldEveryRow) {
  ReductionResult result;
  const std::vector<LayerGradients> layers{layer({kGradient, kGradient, kGradient, kGradient})};
  ReductionPlan plan;
  plan.ranks = {2, 4};
  plan.steps = 10;
  reduce_layers(layers, plan, pool_, result);
  EXPECT_EQ(result.batches, (std::vector<std::pair<int, int64_t>>{{2, 2}, {4, 1}}));
  const auto json = nlohmann::json::parse(to_json(result));
  ASSERT_EQ(json["rows"].size(), 30u);
  EXPECT_EQ(json["rows"][1]["scheme"], "post");
  EXPECT_EQ(json["rows"][1]["blocks"].size(), 1u);
  EXPECT_EQ(plot_reduction(result).size(), 4u);
  EXPECT_NE(reduction_page(result).find("auto, factor"), std::string::npos);
  plan.ranks = {5};
  EXPECT_NE(
      error_of([&] { reduce_layers(layers, plan, pool_, result); }, ExitCode::usage).find("4 micro-batches"),
      std::string::npos);
}

}  // namespace
}  // namespace octavo
