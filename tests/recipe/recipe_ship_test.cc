// SPDX-License-Identifier: Apache-2.0
// The shipped recipes, and every published method written as a recipe.
#include <gmock/gmock.h>

#include <filesystem>

#include "error_of.h"
#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/recipe/recipe_file.h"

namespace octavo {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const std::string kSource = OCTAVO_SOURCE_DIR;

std::vector<std::string> toml_files(const std::string& folder) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".toml") files.push_back(entry.path().string());
  std::sort(files.begin(), files.end());
  return files;
}

Recipe fixture(const std::string& name) {
  return load_recipe(kSource + "/tests/recipe/fixtures/" + name + ".toml");
}

void expect_round_trip(const Recipe& recipe) {
  const std::string text = to_toml(recipe);
  const Recipe again = parse_recipe(text, "again.toml");
  EXPECT_EQ(again, recipe) << text;
  EXPECT_EQ(to_toml(again), text);
}

TEST(ShippedRecipes, AreTheFilesOfTheFolder) {
  const auto files = toml_files(kSource + "/recipes");
  ASSERT_EQ(recipe_names().size(), files.size());
  for (const std::string& path : files) {
    const std::string name = std::filesystem::path(path).stem().string();
    EXPECT_THAT(recipe_names(), Contains(name));
    EXPECT_EQ(recipe_text(name), read_file(path));
    EXPECT_EQ(load_recipe(name), load_recipe(path));
  }
}

TEST(ShippedRecipes, SayWhatTheyAreAndRoundTrip) {
  for (const std::string& name : recipe_names()) {
    SCOPED_TRACE(name);
    const Recipe recipe = load_recipe(name);
    EXPECT_EQ(recipe.name, name);
    EXPECT_FALSE(recipe.description.empty());
    EXPECT_EQ(recipe.paper.empty(), name == "fp32");
    expect_round_trip(recipe);
    const std::string text = describe(recipe);
    EXPECT_THAT(text, HasSubstr("gemm.wgrad.grad_output"));
    for (const std::string& deviation : recipe.deviations) EXPECT_THAT(text, HasSubstr(deviation));
  }
}

TEST(ShippedRecipes, WhatTheEngineRuns) {
  for (const char* name :
       {"fp32", "bf16", "fp8-amax", "fp8-amax-fnuz", "fp8-cscale", "fp8-delayed", "fp8-mse", "fp8-amax-fp16",
        "fp8-row", "fp8-row-hp-wgrad", "munit", "munit-bf16", "fp8-lm-o1", "fp8-lm-o2", "fp8-lm-o3",
        "fp8-lm-o1-msamp", "fp8-lm-o2-msamp", "fp8-lm-o3-msamp"})
    EXPECT_THAT(unsupported(load_recipe(name)), IsEmpty()) << name;
  EXPECT_THAT(unsupported(parse_recipe("loss.scale = 'dynamic'", "dynamic.toml")), IsEmpty());
  for (const char* factor : {"1000", "4294967296"})
    EXPECT_THAT(unsupported(parse_recipe(std::string("loss.scale = 'static:") + factor + "'", "odd.toml")),
                Contains(HasSubstr("no power of two")));
  EXPECT_THAT(unsupported(fixture("fp8-block")), Contains(HasSubstr("scales per block:1x128")));
}

TEST(ShippedRecipes, Bf16IsTheDefault) {
  const Recipe bf16 = load_recipe("bf16");
  const Recipe nothing = parse_recipe("", "nothing.toml");
  EXPECT_EQ(nothing.name, "nothing");
  for (int i = 0; i < kRoleCount; ++i) {
    const Role role = static_cast<Role>(i);
    EXPECT_EQ(bf16.role(role), nothing.role(role)) << role_path(role);
    EXPECT_EQ(Recipe().role(role), nothing.role(role)) << role_path(role);
  }
}

TEST(ShippedRecipes, Fp32IsFp32Everywhere) {
  const Recipe recipe = load_recipe("fp32");
  for (int i = 0; i < kRoleCount; ++i)
    EXPECT_EQ(recipe.role(static_cast<Role>(i)).format, Format::fp32) << role_path(static_cast<Role>(i));
}

TEST(ShippedRecipes, Fp8Amax) {
  const Recipe recipe = load_recipe("fp8-amax");
  EXPECT_EQ(recipe.role(Role::gemm_fprop_weight).format, Format::e4m3);
  EXPECT_EQ(recipe.role(Role::gemm_wgrad_input).format, Format::e4m3);
  EXPECT_EQ(recipe.role(Role::gemm_dgrad_grad_output).format, Format::e5m2);
  EXPECT_EQ(recipe.role(Role::gemm_wgrad_grad_output).scaling.kind, ScalingKind::current);
  EXPECT_TRUE(recipe.role(Role::gemm_wgrad_grad_output).scaling.pow2);
  EXPECT_EQ(recipe.role(Role::store_activation), recipe.role(Role::gemm_input));
  EXPECT_EQ(recipe.role(Role::attention_q).format, Format::bf16);
  EXPECT_EQ(recipe.role(Role::store_master).format, Format::fp32);
}

TEST(ShippedRecipes, Fp8Delayed) {
  const ScalingSpec scaling = load_recipe("fp8-delayed").role("gemm.fprop.weight").scaling;
  EXPECT_EQ(scaling.kind, ScalingKind::delayed);
  EXPECT_EQ(scaling.window, 1024);
  EXPECT_EQ(scaling.statistic, Statistic::max);
  EXPECT_FALSE(scaling.pow2);
  EXPECT_EQ(load_recipe("fp8-delayed").role("gemm.wgrad.grad_output").scaling, scaling);
}

TEST(ShippedRecipes, Fp8AmaxFp16) {
  const Recipe recipe = load_recipe("fp8-amax-fp16");
  EXPECT_EQ(recipe.role(Role::gemm_dgrad_grad_output).scaling.margin, 3);
  EXPECT_EQ(recipe.role(Role::gemm_fprop_input).scaling.margin, 0);
  EXPECT_EQ(recipe.loss.kind, LossScaling::dynamic);
  EXPECT_EQ(recipe.wide(), Format::fp32);
  const LinearSpecs specs = recipe.linear("lm_head", -1, 4);
  EXPECT_EQ(specs.output, Format::fp16);
  EXPECT_EQ(specs.accumulate, Accumulate::fp16);
  EXPECT_EQ(specs.sums, SumsOf::values);
  EXPECT_EQ(specs.fprop_input.format, Format::fp32);
  const Recipe codes = parse_recipe("gemm.accumulate = { format = 'fp16', sums = 'codes' }", "codes.toml");
  EXPECT_EQ(codes.sums, SumsOf::codes);
  expect_round_trip(codes);
  EXPECT_THAT(describe(codes), HasSubstr("fp16, sums of codes"));
  EXPECT_THROW(parse_recipe("gemm.accumulate.sums = 'codes'", "codes.toml"), Error);
}

TEST(ShippedRecipes, Fp8Row) {
  const Recipe recipe = load_recipe("fp8-row");
  for (const Role role : {Role::gemm_fprop_input, Role::gemm_fprop_weight, Role::gemm_dgrad_grad_output,
                          Role::gemm_dgrad_weight, Role::gemm_wgrad_grad_output, Role::gemm_wgrad_input}) {
    EXPECT_EQ(recipe.role(role).format, Format::e4m3) << role_path(role);
    EXPECT_EQ(recipe.role(role).granularity.kind, Granularity::row) << role_path(role);
    EXPECT_EQ(recipe.role(role).scaling.kind, ScalingKind::current) << role_path(role);
    EXPECT_FALSE(recipe.role(role).scaling.pow2) << role_path(role);
  }
  const Recipe high = load_recipe("fp8-row-hp-wgrad");
  for (const Role role : {Role::gemm_fprop_input, Role::gemm_fprop_weight, Role::gemm_dgrad_grad_output})
    EXPECT_EQ(high.role(role), recipe.role(role)) << role_path(role);
  EXPECT_EQ(high.role(Role::gemm_dgrad_weight).format, Format::e4m3);
  EXPECT_EQ(high.role(Role::gemm_dgrad_weight).granularity.kind, Granularity::tensor);
  for (const Role role : {Role::gemm_wgrad_grad_output, Role::gemm_wgrad_input}) {
    EXPECT_EQ(high.role(role).format, Format::bf16) << role_path(role);
    EXPECT_EQ(high.role(role).granularity.kind, Granularity::tensor) << role_path(role);
  }
  // Kept for backward is what the weight gradient reads.
  EXPECT_EQ(high.role(Role::store_activation), high.role(Role::gemm_wgrad_input));
}

TEST(ShippedRecipes, ANameCarriesTheConstant) {
  const Recipe base = load_recipe("fp8-cscale");
  for (const int c : {-12, 0, 5}) {
    const std::string name = "fp8-cscale:" + std::to_string(c);
    const Recipe recipe = load_recipe(name);
    EXPECT_EQ(recipe.name, name);
    for (const char* role : {"gemm.fprop.weight", "gemm.fprop.input", "gemm.dgrad.grad_output"})
      EXPECT_EQ(recipe.role(role).scaling.exponent, c) << role;
    EXPECT_EQ(recipe.loss, base.loss);
    EXPECT_EQ(recipe.layers, base.layers);
    expect_round_trip(recipe);
    EXPECT_THAT(unsupported(recipe), IsEmpty());
  }
  EXPECT_EQ(base.role("gemm.fprop.weight").scaling.exponent, 3);
  const auto expect_failure = [](const char* name, const char* message) {
    try {
      load_recipe(name);
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::usage);
      EXPECT_THAT(error.what(), HasSubstr(message));
    }
  };
  expect_failure("fp8-cscale:", "must be an integer, but is ''");
  expect_failure("fp8-cscale:3x", "must be an integer, but is '3x'");
  expect_failure("fp8-cscale:127", "must be from -126 to 126, but is 127");
  expect_failure("fp8-amax:3", "takes no value");
  expect_failure("fp8-cscal:3", "did you mean 'fp8-cscale'?");
  EXPECT_THROW(parse_recipe("parameter = 'gemm.format'\n[gemm]\nformat = 'e4m3'", "p.toml"), Error);
}

TEST(ShippedRecipes, UnknownNamesAndFiles) {
  const auto message = [](const std::string& name) -> std::string {
    try {
      load_recipe(name);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::usage);
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message("fp8-amx"), "unknown recipe 'fp8-amx' (did you mean 'fp8-amax'?)");
  EXPECT_EQ(message("no/such.toml"), "there is no recipe file 'no/such.toml'");
  EXPECT_EQ(message("/tmp/"), "'/tmp/' is not a file");
}

TEST(PublishedMethods, ParseRoundTripAndDescribe) {
  const auto files = toml_files(kSource + "/tests/recipe/fixtures");
  EXPECT_GE(files.size(), 3u);
  for (const std::string& path : files) {
    SCOPED_TRACE(path);
    const Recipe recipe = load_recipe(path);
    EXPECT_EQ(recipe.name, std::filesystem::path(path).stem().string());
    expect_round_trip(recipe);
    EXPECT_THAT(describe(recipe), HasSubstr(recipe.name));
    // What needs more than this engine has must say so.
    EXPECT_FALSE(unsupported(recipe).empty());
  }
}

TEST(ShippedRecipes, Fp8LmO3) {
  const Recipe r = load_recipe("fp8-lm-o3");
  EXPECT_EQ(r.role("gemm.fprop.weight").scaling.kind, ScalingKind::current);
  EXPECT_EQ(r.role("gemm.dgrad.weight").scaling.kind, ScalingKind::current);
  EXPECT_EQ(r.role("gemm.fprop.input").scaling.kind, ScalingKind::delayed);
  EXPECT_EQ(r.role("gemm.wgrad.grad_output").scaling.window, 16);
  EXPECT_EQ(r.role("gemm.wgrad.grad_output").format, Format::e5m2);
  EXPECT_EQ(r.role("store.weight_grad").scaling.kind, ScalingKind::automatic);
  EXPECT_EQ(r.role("store.weight_grad").scaling.count, Counting::sum);
  EXPECT_EQ(r.role("comm.weight_grad"), r.role("store.weight_grad"));
  EXPECT_EQ(r.role("store.master").format, Format::fp16);
  EXPECT_EQ(r.role("store.moment1").format, Format::e4m3);
  EXPECT_EQ(r.role("store.moment2").format, Format::fp16);
  EXPECT_EQ(r.role("store.weight").format, Format::e4m3);
  EXPECT_EQ(r.role("comm.weight"), r.role("gemm.fprop.weight"));
  EXPECT_EQ(load_recipe("fp8-lm-o3-msamp").reduce,
            (ReduceSpec{ReduceSum::fp8_chain, GradientDivision::rsqrt}));
}

TEST(ShippedRecipes, Fp8LmLevelsDifferInWhatTheLevelSays) {
  const Recipe o1 = load_recipe("fp8-lm-o1"), o2 = load_recipe("fp8-lm-o2"), o3 = load_recipe("fp8-lm-o3");
  std::vector<std::string> one, two;
  for (int i = 0; i < kRoleCount; ++i) {
    const Role role = static_cast<Role>(i);
    if (is_group(role)) continue;
    if (!(o1.role(role) == o2.role(role))) one.emplace_back(role_path(role));
    if (!(o2.role(role) == o3.role(role))) two.emplace_back(role_path(role));
  }
  EXPECT_THAT(one, ElementsAre("store.moment1", "store.moment2"));
  EXPECT_THAT(two, ElementsAre("store.weight", "comm.weight"));
  EXPECT_EQ(o2.role("store.weight"), o2.role("store.master"));
}

TEST(ShippedRecipes, AChangeIsOneKey) {
  const Recipe plain = load_recipe("fp8-lm-o2");
  Recipe changed = load_recipe("fp8-lm-o2", {"store.moment2.format=e4m3", "reduce.sum = \"fp8-tree\""});
  EXPECT_EQ(changed.name, "fp8-lm-o2, changed");
  EXPECT_EQ(changed.role("store.moment2").format, Format::e4m3);
  EXPECT_EQ(changed.role("store.moment2").scaling.kind, ScalingKind::current);
  EXPECT_EQ(changed.reduce.sum, ReduceSum::fp8_tree);
  EXPECT_EQ(changed.role("store.moment1"), plain.role("store.moment1"));
  expect_round_trip(changed);
  // A table replaces what was there.
  changed = load_recipe("fp8-lm-o2", {"store.weight_grad.scaling={kind='current'}"});
  EXPECT_EQ(changed.role("store.weight_grad").scaling.kind, ScalingKind::current);
  EXPECT_EQ(changed.role("store.weight_grad").format, Format::e4m3);
  for (const auto& [change, message] :
       {std::pair{"store.moment3.format=e4m3", "unknown key 'store.moment3' (did you mean"},
        std::pair{"store.moment2.format=e4m4", "cannot be 'e4m4' (did you mean 'e4m3'?)"},
        std::pair{"bare", "expected path.key=value"}})
    EXPECT_THAT(error_of([&, text = change] { load_recipe("fp8-lm-o2", {text}); }, ExitCode::usage),
                HasSubstr(message));
}

TEST(PublishedMethods, OneLookAtTheOthers) {
  EXPECT_TRUE(load_recipe("munit").needs_unit_scaled_model());
  EXPECT_FALSE(load_recipe("munit-bf16").needs_unit_scaled_model());
  EXPECT_EQ(load_recipe("munit").loss, (LossSpec{LossScaling::unit, 1}));
  EXPECT_EQ(fixture("fp8-block").role("gemm.dgrad.weight").granularity,
            (GranularitySpec{Granularity::block, 128, 128}));
  EXPECT_EQ(fixture("fp8-block").role("gemm.dgrad.grad_output").granularity,
            (GranularitySpec{Granularity::block, 1, 128}));
  EXPECT_EQ(fixture("mxfp8").role("gemm.wgrad.input").granularity.kind, Granularity::mx);
}

TEST(PublishedMethods, RoundTripOfEveryKey) {
  const Recipe recipe = parse_recipe(R"(
name = "a \"quoted\" \\ name\twith é"
paper = "p"
description = "d\nline"
deviations = ["one", "two \" three"]
[gemm]
format = "e4m3"
rounding = "stochastic"
overflow = "nan"
scaling = { kind = "delayed", pow2 = false, margin = -2, window = 7, statistic = "latest", amax_group = "dp" }
[gemm.fprop.input]
granularity = "block:4x64"
scaling = { kind = "current" }
[gemm.dgrad.weight]
overflow = "saturate"
scaling = { kind = "constant", exponent = -5 }
[gemm.accumulate]
format = "hopper13"
[store.weight_grad]
format = "e5m2"
overflow = "inf"
scaling = { kind = "auto", threshold = 0.001, growth_steps = 10, reading = "absolute", count = "sum" }
[comm.weight_grad]
scaling.kind = "current"
[layers]
keep_high = []
first_blocks_high = 1
last_blocks_high = 2
[loss]
scale = "static:0.5"
[reduce]
sum = "fp8-tree"
gradient = "rsqrt"
)",
                                     "every.toml");
  EXPECT_EQ(recipe.role("gemm.fprop.weight").overflow, Overflow::nan);
  EXPECT_EQ(recipe.role("gemm.fprop.weight").scaling.statistic, Statistic::latest);
  EXPECT_EQ(recipe.role("gemm.dgrad.weight").scaling.exponent, -5);
  EXPECT_EQ(recipe.loss.factor, 0.5);
  expect_round_trip(recipe);
  const Recipe jump = parse_recipe("loss.scale = 'jump:0.0625@300'", "jump.toml");
  EXPECT_EQ(jump.loss, (LossSpec{LossScaling::jump, 0.0625, 300}));
  expect_round_trip(jump);
}

}  // namespace
}  // namespace octavo
