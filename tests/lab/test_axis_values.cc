// SPDX-License-Identifier: Apache-2.0
#include "octavo/lab/axis_values.h"

#include "lab/lab_testing.h"

namespace octavo {
namespace {

std::vector<std::string> labels(const Axis& axis) {
  std::vector<std::string> out;
  for (const AxisValue& value : axis.values) out.push_back(value.label);
  return out;
}
std::vector<std::string> values(const Axis& axis, size_t key = 0) {
  std::vector<std::string> out;
  for (const AxisValue& value : axis.values) out.push_back(value.settings.at(key).value);
  return out;
}
using Texts = std::vector<std::string>;

TEST(AxisValues, ListsAndPowers) {
  const Axis lr = parse_axis("optim.lr=1e-3, 2^-9 ,2^-6..2^-4,2^-2.5", "--x");
  EXPECT_EQ(lr.name, "optim.lr");
  EXPECT_EQ(labels(lr), (Texts{"1e-3", "2^-9", "2^-6", "2^-5", "2^-4", "2^-2.5"}));
  EXPECT_EQ(values(lr),
            (Texts{"1e-3", "0.001953125", "0.015625", "0.03125", "0.0625", "0.1767766952966369"}));
  EXPECT_EQ(lr.values[0].settings[0].key, "optim.lr");
  EXPECT_EQ(lr.values[0].settings[0].source, "--x");
  EXPECT_DOUBLE_EQ(*axis_number(lr, lr.values[1]), 0x1p-9);
  const Axis width = parse_axis("model.width=2^5..2^7,48", "--curves");
  EXPECT_EQ(labels(width), (Texts{"2^5", "2^6", "2^7", "48"}));
  EXPECT_EQ(values(width), (Texts{"32", "64", "128", "48"}));
  // What is no number stays text, two dots and all.
  const Axis recipe = parse_axis("recipe=bf16,../mine.toml,2^-9,fp8-cscale:5", "--panels");
  EXPECT_EQ(labels(recipe), (Texts{"bf16", "../mine.toml", "2^-9", "fp8-cscale:5"}));
  EXPECT_EQ(values(recipe), labels(recipe));
  EXPECT_FALSE(axis_number(recipe, recipe.values[2]));
}

TEST(AxisValues, KeysThatMoveTogether) {
  const Axis axis = parse_axis("model.width=32,2^6;model.heads=2,4", "--curves");
  EXPECT_EQ(axis.name, "model.width");
  EXPECT_EQ(labels(axis), (Texts{"32", "2^6"}));
  EXPECT_EQ(values(axis), (Texts{"32", "64"}));
  EXPECT_EQ(values(axis, 1), (Texts{"2", "4"}));
  EXPECT_EQ(axis.values[1].settings[1].key, "model.heads");
}

TEST(AxisValues, ValuesAreReadAsARunReadsThem) {
  RunConfig config;
  for (const char* text : {"optim.lr=2^-20", "optim.weight_decay=2^0", "model.width=2^10", "recipe=bf16"}) {
    const Setting s = parse_axis(text, "--x").values.at(0).settings.at(0);
    apply_setting(config, s.key + "=" + s.value);
  }
  EXPECT_EQ(config.optim.lr, 0x1p-20);
  EXPECT_EQ(config.optim.weight_decay, 1);
  EXPECT_EQ(config.model.width, 1024);
  EXPECT_EQ(config.recipe, "bf16");
}

TEST(AxisValues, Mistakes) {
  const auto expect = [](const std::string& text, const Texts& words) {
    expect_error([&] { parse_axis(text, "--x"); }, ExitCode::usage, words);
  };
  expect("optim.lr", {"--x", "KEY=VALUES"});
  expect("=3", {"KEY=VALUES"});
  expect("optim.lrr=1", {"'optim.lrr'", "optim.lr"});
  expect("seed=1,2", {"--x", "--seeds"});
  expect("out=a,b", {"--out"});
  expect("optim.lr=1,,2", {"empty"});
  expect("optim.lr=", {"empty"});
  expect("optim.lr=2^-6..2^-9", {"lower", "2^-9..2^-6"});
  expect("optim.lr=0.1..0.2", {"0.1..0.2", "powers of two"});
  expect("optim.lr=2^-2.5..2^2", {"whole exponents"});
  expect("optim.lr=2^-5000", {"2^-5000"});
  expect("model.width=2^-3", {"model.width", "whole", "2^-3"});
  expect("model.width=2^3.5", {"whole"});
  expect("optim.lr=0.5,2^-1", {"twice", "2^-1"});
  expect("recipe=bf16,bf16", {"twice"});
  expect("model.width=32,64;model.heads=2", {"model.width has 2", "model.heads has 1"});
  expect("model.width=32;model.width=64", {"stands there twice"});
}

}  // namespace
}  // namespace octavo
