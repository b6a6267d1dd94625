// SPDX-License-Identifier: Apache-2.0
#include "octavo/train/checkpoint.h"

#include <cmath>
#include <cstring>

#include "cli/run_octavo.h"
#include "nn/nn_testing.h"
#include "octavo/base/error.h"
#include "octavo/train/optimizer.h"

namespace octavo {
namespace {

const RunConfig::Optim kOptim;

void step(TestModel& m, int64_t index) {
  m.model.parameters().zero_gradients(m.pool);
  m.train(TestBatch(m.model.config(), 2, 9, static_cast<uint64_t>(index)));
  const Optimizer optimizer(kOptim);
  optimizer.step(m.model, index + 1, 0.01 / kOptim.lr, std::sqrt(optimizer.gradient_squares(m.model)));
  m.model.refresh_weights();
}

bool same(TestModel& a, TestModel& b) {
  for (const Parameter& p : a.model.parameters().all()) {
    const Parameter& q = *b.model.parameters().find(p.name);
    const size_t bytes = static_cast<size_t>(p.size()) * sizeof(float);
    if (std::memcmp(p.value, q.value, bytes) || std::memcmp(p.moment1.at.data, q.moment1.at.data, bytes) ||
        std::memcmp(p.moment2.at.data, q.moment2.at.data, bytes))
      return false;
  }
  return true;
}

std::string reason(const std::function<void()>& fn) {
  try {
    fn();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Checkpoint, RoundTrip) {
  for (const ModelConfig& config : {tiny_gpt2(), tiny_llama()}) {
    const TemporaryDirectory directory;
    TestModel first(config, "fp8-amax", {2, 9, 0}), second(config, "fp8-amax", {2, 9, 0});
    step(first, 0);
    step(first, 1);
    save_checkpoint(directory / "c", first.model, {.step = 2, .tokens = 36}, "");
    EXPECT_FALSE(same(first, second));
    const TrainState state = load_checkpoint(directory / "c", second.model);
    EXPECT_EQ(state.step, 2);
    EXPECT_EQ(state.tokens, 36);
    EXPECT_TRUE(same(first, second));
    save_checkpoint(directory / "d", second.model, state, "");
    EXPECT_EQ(all_files(directory / "c"), all_files(directory / "d"));
    step(first, 2);
    step(second, 2);
    EXPECT_TRUE(same(first, second));
  }
}

TEST(Checkpoint, DamageIsNamed) {
  const TemporaryDirectory directory;
  TestModel model(tiny_gpt2(), "fp8-amax", {2, 9, 0});
  step(model, 0);
  const auto fresh = [&] {
    fs::remove_all(directory / "c");
    save_checkpoint(directory / "c", model.model, {.step = 1, .tokens = 18}, "");
  };
  for (const char* file : {"model.safetensors", "optimizer.safetensors", "state.json", "config.json"}) {
    const std::string path = directory / (std::string("c/") + file);
    fresh();
    std::string content = slurp(path);
    content[content.size() / 2] ^= 1;
    spill(path, content);
    EXPECT_NE(reason([&] { load_checkpoint(directory / "c", model.model); }).find(file), std::string::npos);
    fresh();
    fs::resize_file(path, fs::file_size(path) - 1);
    EXPECT_NE(reason([&] { load_checkpoint(directory / "c", model.model); }).find(file), std::string::npos);
    fresh();
    fs::remove(path);
    EXPECT_NE(reason([&] { load_checkpoint(directory / "c", model.model); }).find(file), std::string::npos);
  }
}

TEST(Checkpoint, AnotherModelIsRefused) {
  const TemporaryDirectory directory;
  TestModel gpt2(tiny_gpt2(), "bf16", {1, 4, 0}), llama(tiny_llama(), "bf16", {1, 4, 0});
  save_checkpoint(directory / "c", gpt2.model, {.step = 1, .tokens = 4}, "");
  EXPECT_THROW(load_checkpoint(directory / "c", llama.model), Error);
}

TEST(Checkpoint, NewestSkipsDamagedAndForeignDirectories) {
  const TemporaryDirectory directory;
  TestModel model(tiny_gpt2(), "bf16", {1, 4, 0});
  const std::string run = directory.path();
  EXPECT_FALSE(newest_checkpoint(run));
  for (const int64_t step : {5, 10, 15})
    save_checkpoint(checkpoint_path(run, step), model.model, {.step = step, .tokens = 0}, "");
  for (const char* name :
       {"step_99999999999999999999999", "step_7", "step_", "step_-0000001", "step_0000001x", "notes"})
    fs::create_directories(run + "/checkpoints/" + name);
  EXPECT_EQ(newest_checkpoint(run), checkpoint_path(run, 15));
  fs::resize_file(checkpoint_path(run, 15) + "/model.safetensors", 10);
  std::string skipped;
  EXPECT_EQ(newest_checkpoint(run, &skipped), checkpoint_path(run, 10));
  EXPECT_NE(skipped.find("step_00000015"), std::string::npos) << skipped;

  // A run that goes on from 10 must not count the damaged one as its newest.
  set_aside_checkpoints_after(run, 10);
  EXPECT_TRUE(fs::exists(checkpoint_path(run, 15) + ".damaged"));
  save_checkpoint(checkpoint_path(run, 12), model.model, {.step = 12, .tokens = 0}, "");
  prune_checkpoints(run, 1);
  EXPECT_EQ(newest_checkpoint(run), checkpoint_path(run, 12));
  EXPECT_FALSE(fs::exists(checkpoint_path(run, 10)));
  EXPECT_TRUE(fs::exists(run + "/checkpoints/notes"));
}

}  // namespace
}  // namespace octavo
