// SPDX-License-Identifier: Apache-2.0
// What a user reads when a recipe is wrong: the line, the key, what was expected.
#include <gmock/gmock.h>

#include "octavo/base/error.h"
#include "octavo/recipe/recipe_file.h"

namespace octavo {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

std::string message_of(const std::string& text) {
  try {
    parse_recipe(text, "my.toml");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::usage);
    return error.what();
  }
  return "(accepted)";
}

struct Case {
  std::string text, message;
};

TEST(RecipeErrors, UnknownKeysNameTheNearest) {
  for (const Case& c : std::vector<Case>{
           {"name = 'x'\npapr = 'y'\n", "my.toml:2: unknown key 'papr' (did you mean 'paper'?)"},
           {"\n[gem]\nformat = 'e4m3'\n", "my.toml:2: unknown key 'gem' (did you mean 'gemm'?)"},
           {"[gemm]\nformt = 'e4m3'\n", "my.toml:2: unknown key 'gemm.formt' (did you mean 'format'?)"},
           {"[gemm.imput]\nformat = 'e4m3'\n", "my.toml:1: unknown key 'gemm.imput' (did you mean 'input'?)"},
           {"[gemm.fprop.wieght]\nformat = 'e4m3'\n",
            "my.toml:1: unknown key 'gemm.fprop.wieght' (did you mean 'weight'?)"},
           {"[gemm.scaling]\nkind = 'current'\nmargn = 1\n",
            "my.toml:3: unknown key 'gemm.scaling.margn' (did you mean 'margin'?)"},
           {"[attention.w]\nformat = 'bf16'\n", "my.toml:1: unknown key 'attention.w'"},
           {"[store.moment3]\nformat = 'bf16'\n",
            "my.toml:1: unknown key 'store.moment3' (did you mean 'moment1'?)"},
           {"[layers]\nkeep_hi = []\n",
            "my.toml:2: unknown key 'layers.keep_hi' (did you mean 'keep_high'?)"},
           {"[loss]\nscael = 'none'\n", "my.toml:2: unknown key 'loss.scael' (did you mean 'scale'?)"},
           {"[reduce]\ngradients = 'pre'\n",
            "my.toml:2: unknown key 'reduce.gradients' (did you mean 'gradient'?)"},
           {"[gemm.output]\nrounding = 'nearest'\n", "my.toml:2: unknown key 'gemm.output.rounding'"},
           {"[gemm.accumulate]\nscaling.kind = 'none'\n", "my.toml:2: unknown key 'gemm.accumulate.scaling'"},
       })
    EXPECT_THAT(message_of(c.text), StartsWith(c.message)) << c.text;
}

TEST(RecipeErrors, UnknownWords) {
  for (
      const Case& c : std::vector<Case>{
          {"gemm.format = 'e4m4'", "my.toml:1: 'gemm.format' cannot be 'e4m4' (did you mean 'e4m3'?)"},
          {"gemm.format = 'e8m0'", "my.toml:1: 'gemm.format' cannot be 'e8m0'"},
          {"gemm.rounding = 'neares'",
           "my.toml:1: 'gemm.rounding' cannot be 'neares' (did you mean 'nearest'?)"},
          {"gemm.overflow = 'saturated'",
           "my.toml:1: 'gemm.overflow' cannot be 'saturated' (did you mean 'saturate'?)"},
          {"gemm.scaling.kind = 'curent'",
           "my.toml:1: 'gemm.scaling.kind' cannot be 'curent' (did you mean 'current'?)"},
          {"gemm.scaling.statistic = 'average'",
           "my.toml:1: 'gemm.scaling.statistic' cannot be 'average'; known: max, latest"},
          {"gemm.scaling.reading = 'factr'",
           "my.toml:1: 'gemm.scaling.reading' cannot be 'factr' (did you mean 'factor'?)"},
          {"gemm.scaling.count = 'all'", "my.toml:1: 'gemm.scaling.count' cannot be 'all'"},
          {"gemm.scaling.amax_group = 'world'",
           "my.toml:1: 'gemm.scaling.amax_group' cannot be 'world'; known: rank, tp, dp"},
          {"gemm.granularity = 'tensr'",
           "my.toml:1: 'gemm.granularity' cannot be 'tensr' (did you mean 'tensor'?)"},
          {"gemm.granularity = 'block:128'",
           "my.toml:1: 'gemm.granularity' cannot be 'block:128': blocks are"},
          {"gemm.granularity = 'block:0x4'",
           "my.toml:1: 'gemm.granularity' cannot be 'block:0x4': blocks are"},
          {"gemm.granularity = 'block:-1x4'",
           "my.toml:1: 'gemm.granularity' cannot be 'block:-1x4': blocks are"},
          {"gemm.granularity = 'block:4x99999999999'",
           "my.toml:1: 'gemm.granularity' cannot be 'block:4x99999999999': blocks are"},
          {"gemm.granularity = 'mx:16'",
           "my.toml:1: 'gemm.granularity' cannot be 'mx:16': OCP MX has blocks of 32 only"},
          {"gemm.accumulate.format = 'fp8'", "my.toml:1: 'gemm.accumulate.format' cannot be 'fp8'"},
          {"gemm.output.format = 'e4m3'",
           "my.toml:1: 'gemm.output.format' must be bf16, fp16 or fp32, but is 'e4m3'"},
          {"loss.scale = 'static'", "my.toml:1: 'loss.scale' cannot be 'static'"},
          {"loss.scale = 'static:'",
           "my.toml:1: 'loss.scale' is 'static:', but the factor must be a positive"},
          {"loss.scale = 'static:-2'",
           "my.toml:1: 'loss.scale' is 'static:-2', but the factor must be a positive"},
          {"loss.scale = 'static:nan'", "my.toml:1: 'loss.scale' is 'static:nan', but the factor must be"},
          {"loss.scale = 'static:1e999'",
           "my.toml:1: 'loss.scale' is 'static:1e999', but the factor must be"},
          {"loss.scale = 'static:2x'",
           "my.toml:1: 'loss.scale' is 'static:2x', but the factor must be a positive"},
          {"loss.scale = 'jump:16'", "my.toml:1: 'loss.scale' is 'jump:16', but a jump is a positive factor"},
          {"loss.scale = 'jump:16@0'",
           "my.toml:1: 'loss.scale' is 'jump:16@0', but a jump is a positive factor and the steps before it, "
           "as in \"jump:16@500\""},
          {"loss.scale = 'jump:-2@5'", "my.toml:1: 'loss.scale' is 'jump:-2@5', but a jump is a positive"},
          {"loss.scale = 'jump:2@5x'", "my.toml:1: 'loss.scale' is 'jump:2@5x', but a jump is a positive"},
          {"reduce.sum = 'fp8'", "my.toml:1: 'reduce.sum' cannot be 'fp8'"},
          {"reduce.gradient = 'mean'", "my.toml:1: 'reduce.gradient' cannot be 'mean'"},
          {"reduce.sum = 'fp8-tree'", "my.toml: 'reduce.sum' is fp8-tree, but comm.weight_grad is fp32"},
          {"[reduce]\ngradient = 'pre'\n[store.weight_grad]\nformat = 'e4m3'\nscaling.kind = 'auto'\n",
           "my.toml: 'reduce.gradient' is pre, but the scaling of comm.weight_grad is auto"},
      })
    EXPECT_THAT(message_of(c.text), StartsWith(c.message)) << c.text;
}

TEST(RecipeErrors, WrongTypes) {
  for (const Case& c : std::vector<Case>{
           {"name = 3", "my.toml:1: 'name' must be a string, but is the integer 3"},
           {"name = ''", "my.toml:1: 'name' must not be empty"},
           {"gemm = 'e4m3'", "my.toml:1: 'gemm' must be a table, but is the string \"e4m3\""},
           {"gemm.format = 8", "my.toml:1: 'gemm.format' must be a string, but is the integer 8"},
           {"gemm.scaling = 'current'",
            "my.toml:1: 'gemm.scaling' must be a table, but is the string \"current\""},
           {"gemm.scaling.margin = '3'",
            "my.toml:1: 'gemm.scaling.margin' must be an integer, but is the string \"3\""},
           {"gemm.scaling.margin = 1.5",
            "my.toml:1: 'gemm.scaling.margin' must be an integer, but is the number 1.5"},
           {"gemm.scaling.margin = 9223372036854775807",
            "my.toml:1: 'gemm.scaling.margin' is 9223372036854775807, which is out of range"},
           {"gemm.scaling.pow2 = 1",
            "my.toml:1: 'gemm.scaling.pow2' must be true or false, but is the integer 1"},
           {"gemm.scaling.threshold = true",
            "my.toml:1: 'gemm.scaling.threshold' must be a number, but is true"},
           {"deviations = 'none'",
            "my.toml:1: 'deviations' must be a list of strings, but is the string \"none\""},
           {"deviations = ['a', 1]",
            "my.toml:1: 'deviations' must be a list of strings, but holds the integer 1"},
           {"layers.keep_high = { a = 1 }",
            "my.toml:1: 'layers.keep_high' must be a list of strings, but is a table"},
           {"layers.keep_high = ['']", "my.toml:1: 'layers.keep_high' holds an empty pattern"},
           {"layers.first_blocks_high = -1",
            "my.toml:1: 'layers.first_blocks_high' must not be negative, but is -1"},
           {"layers.last_blocks_high = 2020-01-01",
            "my.toml:1: 'layers.last_blocks_high' must be an integer, but is a date or time"},
       })
    EXPECT_THAT(message_of(c.text), StartsWith(c.message)) << c.text;
}

TEST(RecipeErrors, Meaningless) {
  const std::string fp8 = "[gemm]\nformat = 'e4m3'\n";
  for (const Case& c : std::vector<Case>{
           {fp8 + "scaling.kind = 'constant'\n",
            "my.toml:1: 'gemm.scaling' is constant and needs an 'exponent'"},
           {fp8 + "scaling = { kind = 'constant', exponent = 127 }\n",
            "my.toml:1: 'gemm.fprop.input.scaling.exponent' must be from -126 to 126, but is 127"},
           {fp8 + "scaling = { kind = 'delayed', window = 0 }\n",
            "my.toml:1: 'gemm.fprop.input.scaling.window' must be from 1 to 65536, but is 0"},
           {fp8 + "scaling = { kind = 'delayed', window = 2000000000 }\n",
            "my.toml:1: 'gemm.fprop.input.scaling.window' must be from 1 to 65536"},
           {fp8 + "scaling = { kind = 'current', margin = 65 }\n",
            "my.toml:1: 'gemm.fprop.input.scaling.margin' must be from -64 to 64, but is 65"},
           {fp8 + "scaling = { kind = 'current', window = 4 }\n",
            "my.toml:1: 'gemm.scaling.window' is for delayed scaling, but the scaling here is current"},
           {fp8 + "scaling = { exponent = 4 }\n",
            "my.toml:1: 'gemm.scaling.exponent' is for constant scaling, but the scaling here is none"},
           {fp8 + "scaling = { margin = 4 }\n",
            "my.toml:1: 'gemm.scaling.margin' is for current, delayed or auto scaling, but the scaling here "
            "is none"},
           {fp8 + "scaling.kind = 'auto'\n",
            "my.toml:1: 'gemm.fprop.input.scaling' cannot be auto: it is a rule for"},
           {"[store.weight_grad]\nformat = 'e4m3'\nscaling = { kind = 'auto', threshold = 1.0 }\n",
            "my.toml:1: 'store.weight_grad.scaling.threshold' is a share between 0 and 1, but is 1"},
           {"[store.weight_grad]\nformat = 'e4m3'\nscaling = { kind = 'auto', threshold = nan }\n",
            "my.toml:1: 'store.weight_grad.scaling.threshold' is a share between 0 and 1, but is nan"},
           {"[store.weight_grad]\nformat = 'e4m3'\nscaling = { kind = 'auto', growth_steps = 0 }\n",
            "my.toml:1: 'store.weight_grad.scaling.growth_steps' must be from 1 to 1000000000, but is 0"},
           {fp8 + "overflow = 'inf'\n",
            "my.toml:1: 'gemm.fprop.input.overflow' cannot be 'inf': e4m3 has no infinity"},
           {"[gemm]\nformat = 'e5m2fnuz'\noverflow = 'inf'\n",
            "my.toml:1: 'gemm.fprop.input.overflow' cannot be 'inf': e5m2fnuz has no infinity"},
           {fp8 + "granularity = 'row'\n",
            "my.toml:1: 'gemm.fprop.input.granularity' is row, which needs scaling current or mse: none has "
            "one scale"},
           {fp8 + "granularity = 'block:1x128'\nscaling.kind = 'delayed'\n",
            "my.toml:1: 'gemm.fprop.input.granularity' is block:1x128, which needs scaling current or mse"},
           {fp8 + "granularity = 'mx:32'\nscaling = { kind = 'current', pow2 = false }\n",
            "my.toml:1: 'gemm.fprop.input.scaling.pow2' must be true with mx:32"},
           {"[store.moment1]\nformat = 'fp16'\ngranularity = 'mx:32'\nscaling.kind = 'current'\n",
            "my.toml:1: 'store.moment1.granularity' is mx:32, which needs an 8-bit format, not fp16"},
           {fp8 + "overflow = 'nan'\nscaling.kind = 'static'\n",
            "my.toml:1: 'gemm.fprop.input.overflow' must be saturate with static scaling"},
           {fp8 + "\n[gemm.weight]\nformat = 'bf16'\nscaling.kind = 'current'\n",
            "my.toml:4: 'gemm.weight.scaling' has no effect: bf16 carries no scale"},
           {"[attention.q]\nscaling.kind = 'current'\n",
            "my.toml:1: 'attention.q.scaling' has no effect: bf16 carries no scale"},
           {"[store.master]\ngranularity = 'row'\n",
            "my.toml:1: 'store.master.granularity' has no effect: fp32 carries no scale"},
       })
    EXPECT_THAT(message_of(c.text), StartsWith(c.message)) << c.text;
}

TEST(RecipeErrors, HostileText) {
  EXPECT_THAT(message_of("gemm = {"), StartsWith("my.toml:1: not valid TOML: "));
  EXPECT_THAT(message_of("name = \"a\"\nname = \"b\"\n"), StartsWith("my.toml:2: not valid TOML: "));
  EXPECT_THAT(message_of(std::string("name = \"\xff\xfe\"")), HasSubstr("not valid TOML"));
  EXPECT_THAT(message_of("a = " + std::string(100000, '[')), HasSubstr("not valid TOML"));
  EXPECT_THAT(message_of("#" + std::string(kLargestRecipe, 'x')), HasSubstr("a recipe has at most"));
  std::string dotted = "gemm";
  for (int i = 0; i < 2000; ++i) dotted += ".a";
  EXPECT_THAT(message_of(dotted + " = 1"), AllOf(StartsWith("my.toml:1: "), HasSubstr("gemm.a")));
}

TEST(Unsupported, NamesEachReasonOnce) {
  const auto reasons = [](const std::string& text) { return unsupported(parse_recipe(text, "my.toml")); };
  EXPECT_THAT(reasons(""), IsEmpty());
  EXPECT_THAT(reasons("gemm.format = 'e4m3'\ngemm.scaling = { kind = 'constant', exponent = 2 }"), IsEmpty());
  EXPECT_THAT(
      reasons("gemm.format = 'e5m2fnuz'\ngemm.rounding = 'stochastic'\ngemm.scaling.kind = 'delayed'"),
      IsEmpty());
  EXPECT_THAT(reasons("loss.scale = 'jump:3@10'"),
              ::testing::ElementsAre(::testing::HasSubstr("loss.scale: jump:3@10 is no power of two")));
  EXPECT_THAT(reasons("loss.scale = 'static:1000'"),
              ::testing::ElementsAre("loss.scale: static:1000 is no power of two from 2^-30 to 2^30, which "
                                     "gradients can be divided by exactly"));
  EXPECT_THAT(reasons("gemm.accumulate.format = 'hopper13'"),
              ::testing::ElementsAre("gemm.accumulate: hopper13 is not implemented yet, only fp32 and fp16"));
  EXPECT_THAT(reasons("store.moment1.format = 'bf16'"), IsEmpty());
  EXPECT_THAT(reasons("store.moment2 = { format = 'e4m3', scaling = { kind = 'delayed' } }"),
              ::testing::ElementsAre("store.moment2: delayed scaling of state is not implemented, only none, "
                                     "constant, and current"));
  EXPECT_THAT(reasons("store.weight.format = 'fp16'"),
              ::testing::ElementsAre("store.weight: what every rank keeps is either what gemm.fprop.weight "
                                     "reads or store.master itself"));
  EXPECT_THAT(reasons("comm.weight.format = 'fp32'"),
              ::testing::ElementsAre("comm.weight: weights travel as store.weight keeps them"));
  EXPECT_THAT(reasons("gemm.input.format = 'fp32'"),
              ::testing::Contains(
                  "gemm.fprop.input and gemm.fprop.weight: a GEMM multiplies fp32 with fp32 only, not "
                  "fp32 with bf16"));
  EXPECT_THAT(reasons("gemm.wgrad.input.format = 'e4m3'"), IsEmpty());
  EXPECT_THAT(
      reasons("gemm.wgrad = { format = 'e4m3', granularity = 'row', scaling = { kind = 'current' } }"),
      IsEmpty());
  EXPECT_THAT(reasons("gemm.weight = { format = 'e4m3', granularity = 'row', scaling = { kind = 'mse' } }"),
              ::testing::Contains("gemm.dgrad.weight: mse scaling per row is not implemented yet, only "
                                  "current"));
  EXPECT_THAT(reasons("gemm.weight = { format = 'e4m3', granularity = 'block:128x128', scaling = { kind = "
                      "'current' } }"),
              ::testing::Contains("gemm.fprop.weight: scales per block:128x128 are not implemented yet, only "
                                  "per tensor or row"));
  // FP16 results are emulated in FP32 memory, and the recipe has to say that the rest is FP32.
  EXPECT_THAT(reasons("gemm.output.format = 'fp16'"),
              ::testing::Contains("attention.q: fp16 is not implemented yet, only fp32"));
  EXPECT_THAT(reasons("gemm.output.format = 'fp16'\nattention.format = 'fp32'\n"
                      "store.kv_cache.format = 'fp32'\ncomm.activation.format = 'fp32'\n"
                      "comm.activation_grad.format = 'fp32'"),
              IsEmpty());
  EXPECT_THAT(reasons("attention.p.format = 'e4m3'\nattention.p.scaling.kind = 'current'"),
              ::testing::ElementsAre("attention.p: e4m3 is not implemented yet, only bf16"));
}

}  // namespace
}  // namespace octavo
