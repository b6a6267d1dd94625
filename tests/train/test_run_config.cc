// SPDX-License-Identifier: Apache-2.0
#include "octavo/train/run_config.h"

#include <gtest/gtest.h>

#include "octavo/base/error.h"

namespace octavo {
namespace {

template <class Fn>
std::string refusal(Fn fn) {
  try {
    fn();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::usage) << error.what();
    return error.what();
  }
  return "";
}

TEST(RunConfig, RoundTripOfEveryKey) {
  RunConfig config;
  config.preset = "a \"quoted\" name";
  config.out = "runs/\xc3\xa4\\b\n";
  config.seed = -5;
  config.model.rope_theta = 1e6;
  config.model.norm_eps = 1e-5;
  config.model.tied_head = false;
  config.data.train = {"a.bin", "b c.bin"};
  config.optim.lr = 0.1 + 0.2;
  config.optim.clip = 0;
  config.log.profile = true;
  config.checkpoint.every = int64_t{1} << 62;
  RunConfig again;
  again.data.val = {"to be replaced"};
  apply_toml(again, to_toml(config), "config.toml");
  EXPECT_EQ(to_toml(again), to_toml(config));
  EXPECT_EQ(again.optim.lr, config.optim.lr);
  EXPECT_EQ(again.out, config.out);
  EXPECT_EQ(again.data.train, config.data.train);
  EXPECT_TRUE(again.data.val.empty());
  EXPECT_FALSE(again.model.tied_head);
}

TEST(RunConfig, LaterTextGoesOverEarlier) {
  RunConfig config;
  apply_toml(config, "seed = 3\n[optim]\nlr = 2\nbeta1 = 0.5\n", "a.toml");
  apply_toml(config, "optim.lr = 1e-4\n", "b.toml");
  EXPECT_EQ(config.seed, 3);
  EXPECT_EQ(config.optim.lr, 1e-4);
  EXPECT_EQ(config.optim.beta1, 0.5);
}

TEST(RunConfig, UnknownKeysNameFileLineAndTheNearestKey) {
  RunConfig config;
  const std::string text = "seed = 1\n[optim]\nlr = 0.1\nwarmup_step = 3\n";
  const std::string message = refusal([&] { apply_toml(config, text, "my.toml"); });
  EXPECT_NE(message.find("my.toml:4"), std::string::npos) << message;
  EXPECT_NE(message.find("'optim.warmup_step'"), std::string::npos) << message;
  EXPECT_NE(message.find("did you mean 'optim.warmup_steps'"), std::string::npos) << message;
}

TEST(RunConfig, WrongTypesSayWhatIsExpected) {
  const auto message = [](const std::string& text) {
    RunConfig config;
    return refusal([&] { apply_toml(config, text, "my.toml"); });
  };
  for (const auto& [text, expected] :
       {std::pair{"seed = 1.5\n", "my.toml:1: seed expects integer, found 1.5"},
        {"\nrecipe = 8\n", "my.toml:2: recipe expects text, found 8"},
        {"model.tied_head = 1\n", "model.tied_head expects true or false, found 1"},
        {"optim.lr = \"high\"\n", "optim.lr expects number"},
        {"data.train = [1]\n", "data.train expects list of text"},
        {"model = 3\n", "unknown key 'model'"},
        {"seed = \n", "my.toml:1: not valid TOML"}})
    EXPECT_NE(message(text).find(expected), std::string::npos) << message(text);
}

TEST(RunConfig, Settings) {
  RunConfig config;
  for (const char* setting :
       {"optim.lr=3e-4", "train.steps=7", "recipe=fp8-amax", "data.train=[\"a\", \"b\"]", "log.profile=true",
        "out=runs/with=sign", "optim.clip=1"})
    apply_setting(config, setting);
  EXPECT_EQ(config.optim.lr, 3e-4);
  EXPECT_EQ(config.train.steps, 7);
  EXPECT_EQ(config.recipe, "fp8-amax");
  EXPECT_EQ(config.data.train, (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(config.log.profile);
  EXPECT_EQ(config.out, "runs/with=sign");
  apply_setting(config, "data.train=/one/path.bin");
  EXPECT_EQ(config.data.train, (std::vector<std::string>{"/one/path.bin"}));
  EXPECT_NE(refusal([&] { apply_setting(config, "optim.lr"); }).find("key=value"), std::string::npos);
  EXPECT_NE(refusal([&] { apply_setting(config, "=3"); }).find("key=value"), std::string::npos);
  EXPECT_NE(refusal([&] { apply_setting(config, "optim.lrr=3"); }).find("did you mean 'optim.lr'"),
            std::string::npos);
  EXPECT_NE(refusal([&] { apply_setting(config, "train.steps=many"); }).find("train.steps expects integer"),
            std::string::npos);
  EXPECT_NE(refusal([&] { apply_setting(config, "recipe=\xff"); }).find("recipe"), std::string::npos);
  EXPECT_EQ(config.recipe, "fp8-amax");
}

TEST(RunConfig, NumbersThatMakeNoSense) {
  validate(RunConfig());
  for (const char* setting : {"train.steps=0",
                              "train.micro_batch=0",
                              "train.micro_batch=9223372036854775807",
                              "train.grad_accum=0",
                              "optim.lr=-1",
                              "optim.lr=inf",
                              "optim.lr=nan",
                              "optim.min_lr=1",
                              "optim.min_lr=-1",
                              "optim.warmup_steps=-1",
                              "optim.schedule=cosin",
                              "optim.beta1=1",
                              "optim.beta2=-0.1",
                              "optim.eps=0",
                              "optim.clip=-1",
                              "optim.clip=nan",
                              "optim.weight_decay=inf",
                              "eval.every=-1",
                              "eval.batches=-1",
                              "eval.batches=9223372036854775807",
                              "log.every=0",
                              "checkpoint.keep=0",
                              "checkpoint.every=-1",
                              "threads=-1",
                              "threads=100000"}) {
    RunConfig config;
    apply_setting(config, setting);
    const std::string message = refusal([&] { validate(config); }),
                      key = std::string(setting).substr(0, std::string(setting).find('='));
    EXPECT_NE(message.find(key), std::string::npos) << setting << ": " << message;
  }
}

TEST(RunConfig, ModelDefaults) {
  RunConfig config;
  const ModelConfig gpt2 = model_config(config, 300);
  EXPECT_EQ(gpt2.vocab_size, 300);
  EXPECT_EQ(gpt2.ffn, 4 * gpt2.width);
  EXPECT_EQ(gpt2.kv_heads, gpt2.heads);
  config.model.family = "llama";
  config.model.vocab_size = 512;
  const ModelConfig llama = model_config(config, 300);
  EXPECT_EQ(llama.vocab_size, 512);
  EXPECT_EQ(llama.ffn, 704);  // 8/3 x 256 = 682.67, up to a multiple of 32
  EXPECT_EQ(llama.activation, Activation::silu);
  config.model.family = "lama";
  EXPECT_NE(refusal([&] { model_config(config, 1); }).find("did you mean 'llama'"), std::string::npos);
}

TEST(Presets, UnknownOnesSuggest) {
  EXPECT_NE(refusal([] { load_preset("gpt-mni"); }).find("did you mean 'gpt-mini'"), std::string::npos);
}

}  // namespace
}  // namespace octavo
