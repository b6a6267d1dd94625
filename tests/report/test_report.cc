// SPDX-License-Identifier: Apache-2.0
#include "octavo/report/report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "octavo/report/document.h"
#include "octavo/report/page.h"
#include "report/report_testing.h"

namespace octavo {
namespace {

TEST(Report, DeltaToTheFirstRunInSixteenBitsOrMore) {
  RunData fp8 = synthetic_run("a", 300, 2, 10, 0.25), bf16 = synthetic_run("b", 300, 0, 10);
  bf16.recipe = "bf16";
  const Report report = make_report({fp8, bf16, synthetic_run("c", 300, 2, 10, -0.5)});
  EXPECT_EQ(report.baseline, 1u);
  EXPECT_TRUE(report.runs[1].is_baseline);
  EXPECT_NEAR(report.runs[0].train_delta, 0.25, 1e-12);
  EXPECT_NEAR(report.runs[0].val_delta, 0.25, 1e-12);
  EXPECT_NEAR(report.runs[2].train_delta, -0.5, 1e-12);
  EXPECT_TRUE(report.runs[1].delta.x.empty());
  EXPECT_EQ(make_report({fp8, synthetic_run("c", 10, 2, 10)}).baseline, 0u) << "else the first";
}

TEST(Report, DeltaComparesEqualStepsOnly) {
  RunData a = synthetic_run("a", 20, 0, 10), b = synthetic_run("b", 20, 0, 10, 1.0);
  std::erase_if(b.steps, [](const StepLine& line) { return line.step % 2 == 1 || line.step > 10; });
  const Report report = make_report({a, b});
  EXPECT_EQ(report.runs[1].delta.x, (std::vector<double>{2, 4, 6, 8, 10}));
  for (const double d : report.runs[1].delta.y) EXPECT_NEAR(d, 1.0, 1e-12);
}

TEST(Report, RunsOfOneNameAreToldApartByTheirPath) {
  RunData a = synthetic_run("run", 5, 0, 1), b = a, c = synthetic_run("other", 5, 0, 1);
  a.path = "x/run";
  b.path = "y/run";
  const Report report = make_report({a, b, c});
  EXPECT_EQ(report.runs[0].label, "x/run");
  EXPECT_EQ(report.runs[1].label, "y/run");
  EXPECT_EQ(report.runs[2].label, "other");
}

TEST(Report, RowsAreInTheOrderOfABlock) {
  const RunData run = synthetic_run("a", 11, 3, 10);
  const TensorReport tensors = make_tensor_report(run, {});
  ASSERT_EQ(tensors.rows.size(), 36u);
  EXPECT_EQ(tensors.rows[0].id.role, "gemm.weight");
  EXPECT_EQ(tensors.rows[0].kind, LayerKind::qkv);
  EXPECT_EQ(tensors.rows[2].layer, 2);
  EXPECT_EQ(tensors.rows[3].kind, LayerKind::attention_out);
  EXPECT_EQ(tensors.rows.back().tensor_class, TensorClass::gradients);
  EXPECT_EQ(tensors.rows.back().kind, LayerKind::ffn_down);
  EXPECT_EQ(tensors.steps, (std::vector<double>{1, 11}));
}

TEST(Report, BandsAndWorstValuesCountStepsThatAreNotDrawn) {
  RunData run = synthetic_run("a", 2000, 4, 1);
  const size_t spike = 777 * run.tensor_ids.size() + 5;
  run.tensors[spike].underflow = 0.75f;
  run.tensors[spike].scale_exponent = 20;
  run.tensors[spike].snr_db = 3;
  ReportLimits limits;
  limits.cells = 480;
  limits.histograms = 240;
  const TensorReport tensors = make_tensor_report(run, limits);
  EXPECT_EQ(tensors.logged_steps, 2000);
  EXPECT_EQ(tensors.steps.size(), 10u);
  EXPECT_EQ(tensors.steps.front(), 1);
  EXPECT_EQ(tensors.steps.back(), 2000);
  EXPECT_EQ(tensors.histogram_steps.size(), 5u);
  const TensorId id = run.tensor_ids[5];
  const auto row =
      std::find_if(tensors.rows.begin(), tensors.rows.end(), [&](const TensorRow& r) { return r.id == id; });
  ASSERT_NE(row, tensors.rows.end());
  EXPECT_EQ(row->underflow_worst.value, 0.75);
  EXPECT_EQ(row->underflow_worst.step, 778);
  EXPECT_EQ(row->snr_worst.value, 3);
  EXPECT_EQ(row->scale_high, 20);
  double highest = 0, least_bias = 0;
  for (const ClassBands& bands : tensors.bands) {
    highest = std::max(highest, *std::max_element(bands.underflow.high.begin(), bands.underflow.high.end()));
    for (const auto& [kind, band] : bands.bias)
      least_bias = std::min(least_bias, *std::min_element(band.low.begin(), band.low.end()));
  }
  EXPECT_EQ(highest, 0.75);
  EXPECT_EQ(least_bias, -20);
}

TEST(Report, BandsAreSmallestMedianLargestOverTheLayers) {
  RunData run = synthetic_run("a", 1, 3, 1);
  int layer = 0;
  for (TensorLine& line : run.tensors)
    if (run.tensor_ids[static_cast<size_t>(line.id)].tensor.ends_with("c_fc") &&
        run.tensor_ids[static_cast<size_t>(line.id)].role == "gemm.weight")
      line.scale_exponent = static_cast<float>(std::vector{-5, -9, -6}[static_cast<size_t>(layer++)]);
  const TensorReport tensors = make_tensor_report(run, {});
  const Band& band = tensors.bands[0].bias.at(LayerKind::ffn_up);
  EXPECT_EQ(band.low, std::vector<double>{5});
  EXPECT_EQ(band.median, std::vector<double>{6});
  EXPECT_EQ(band.high, std::vector<double>{9});
}

TEST(Report, SaysWhichFlagIsMissing) {
  RunData bare;
  bare.path = bare.name = "bare";
  bare.steps.push_back({1});
  const Report report = make_report({bare});
  const auto& missing = report.runs[0].missing;
  EXPECT_NE(missing.at("tensors").find("--log-tensors"), std::string::npos);
  EXPECT_NE(missing.at("profile").find("--profile"), std::string::npos);
  EXPECT_TRUE(missing.contains("memory"));
  EXPECT_TRUE(missing.contains("loss"));
  RunData old = synthetic_run("old", 20, 1, 10);
  for (TensorLine& line : old.tensors) line.exponent_counts.clear();
  EXPECT_TRUE(make_report({old}).runs[0].missing.contains("histograms"));
  EXPECT_FALSE(make_report({synthetic_run("new", 20, 1, 10)}).runs[0].missing.contains("histograms"));
}

TEST(Document, IsTheSchemaOfTheDocs) {
  const auto json = nlohmann::json::parse(
      to_document(make_report({synthetic_run("a", 100, 2, 10), synthetic_run("b", 100, 1, 10, 0.5)})));
  EXPECT_EQ(json["schema"], "octavo-report-1");
  EXPECT_EQ(json["baseline"], 0);
  EXPECT_EQ(json["formats"]["e4m3"]["max"], 448);
  EXPECT_NEAR(json["formats"]["e4m3"]["ideal_snr_db"].get<double>(), 32.2, 0.1);
  const auto& run = json["runs"][1];
  EXPECT_EQ(run["name"], "b");
  EXPECT_EQ(run["figures"]["steps"], 100);
  EXPECT_EQ(run["figures"]["train_delta"], 0.5);
  EXPECT_EQ(run["curves"]["loss"]["x"].size(), 100u);
  EXPECT_EQ(run["tensors"]["rows"].size(), 12u);
  EXPECT_EQ(run["tensors"]["rows"][0]["scale"].size(), run["tensors"]["steps"].size());
  EXPECT_EQ(run["tensors"]["rows"][0]["histograms"][0].size(), 29u);
  EXPECT_EQ(run["tensors"]["rows"][0]["histograms"][0][0], -30);
  EXPECT_EQ(run["tensors"]["classes"].size(), 3u);
  EXPECT_TRUE(run["tensors"]["classes"][0]["bias"].contains("attn-out"));
}

TEST(Document, WhatIsNotFiniteIsNull) {
  RunData run = synthetic_run("a", 3, 1, 1);
  run.tensors[0].snr_db = std::numeric_limits<float>::infinity();
  run.tensors[0].scale_exponent = std::numeric_limits<float>::quiet_NaN();
  const std::string text = to_document(make_report({run}));
  const auto json = nlohmann::json::parse(text);
  const auto& row =
      json["runs"][0]["tensors"]["rows"][1];  // rows are sorted, the first line is the weight of qkv
  EXPECT_TRUE(json["runs"][0]["tensors"]["rows"][0]["snr"][0].is_null() || row["snr"][0].is_null());
  EXPECT_TRUE(json["runs"][0]["figures"]["peak_flops"].is_null());
}

TEST(Document, NamesThatAreNotUtf8AreRepaired) {
  RunData run = synthetic_run("a\xff", 3, 1, 1);
  EXPECT_NO_THROW(nlohmann::json::parse(to_document(make_report({run}))));
}

TEST(Page, ThreeLongRunsOfALargeModelStayBelowTwoMegabytes) {
  const RunData run = synthetic_run("large", 4000, 32, 40);
  const Report report = make_report({run, run, run});
  const std::string page = make_page("large", to_document(report));
  EXPECT_LT(page.size(), 2'000'000u);
  EXPECT_GT(page.size(), 500'000u) << "the runs are in it";
}

}  // namespace
}  // namespace octavo
