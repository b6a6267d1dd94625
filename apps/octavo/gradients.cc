// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <deque>
#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "octavo/base/error.h"
#include "octavo/infer/model.h"
#include "octavo/io/hf_model.h"
#include "octavo/io/safetensors_writer.h"
#include "octavo/recipe/recipe_file.h"
#include "octavo/train/loss_scaler.h"
#include "octavo/train/training_data.h"

namespace octavo {
namespace {

struct Options {
  std::string model, data, recipe = "fp32", out;
  int64_t batch = 1, seq_len = 64;
  int threads = 0;
};

void run(const Options& o) {
  ThreadPool pool(o.threads);
  const std::string path = model_directory(o.model);
  Transformer model(read_hf_config(path), load_recipe(o.recipe), Purpose::training, pool);
  model.allocate({o.batch, o.seq_len, 0});
  load_hf_weights(path, model);
  const auto source = open_evaluation_data(o.data);
  source->require_vocabulary(model.config().vocab_size);
  const SampleLoader samples(*source, o.seq_len, 0, false);

  const size_t rows = static_cast<size_t>(o.batch * o.seq_len);
  std::vector<int32_t> tokens(rows), targets(rows), positions(rows);
  for (size_t r = 0; r < rows; ++r) positions[r] = static_cast<int32_t>(r % static_cast<size_t>(o.seq_len));
  samples.batch(0, o.batch, tokens.data(), targets.data());
  int64_t counted = 0;
  for (int64_t b = 0; b < o.batch; ++b) counted += samples.counted(static_cast<uint64_t>(b));
  model.parameters().zero_gradients(pool);
  const LossScaler scaler(model.recipe().loss, o.batch * o.seq_len, model.config().width);
  const float loss_scale = static_cast<float>(scaler.scale(LossScaleState{}));
  const LossSum sum = model.train({o.batch, o.seq_len, tokens.data(), positions.data()}, targets.data(),
                                  1.0f / static_cast<float>(counted) * loss_scale);

  std::vector<TensorToWrite> tensors;
  std::deque<std::vector<float>> gradients;
  for (const Parameter& p : model.parameters().all()) {
    std::vector<float>& values = gradients.emplace_back(static_cast<size_t>(p.size()));
    decode(p.weight_grad.at, p.size(), values.data(), pool);
    for (float& g : values) g /= loss_scale;
    tensors.push_back({p.name,
                       FileDtype::f32,
                       {static_cast<uint64_t>(p.rows), static_cast<uint64_t>(p.cols)},
                       values.data()});
  }
  const std::vector<uint64_t> shape{static_cast<uint64_t>(o.batch), static_cast<uint64_t>(o.seq_len)};
  tensors.push_back({"tokens", FileDtype::i32, shape, tokens.data()});
  tensors.push_back({"targets", FileDtype::i32, shape, targets.data()});
  write_safetensors(o.out, tensors);
  fmt::print("{}\n", nlohmann::ordered_json{{"loss", sum.loss / static_cast<double>(sum.tokens)},
                                            {"tokens", sum.tokens},
                                            {"gradients", o.out}}
                         .dump());
}

}  // namespace

void add_gradients(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* c = app.add_subcommand(
      "gradients", "One forward and backward pass; writes every gradient, to compare with other frameworks");
  c->add_option("-m,--model", o->model, "Model directory")->required();
  c->add_option("--data", o->data, "Data set directory or token shard; its first windows are taken")
      ->required();
  c->add_option("--out", o->out, "Safetensors file: gradients [out, in], tokens, targets")->required();
  c->add_option("--recipe", o->recipe, "Numbers to compute in")->capture_default_str();
  c->add_option("--batch", o->batch, "Sequences")->capture_default_str()->check(CLI::Range(1, 4096));
  c->add_option("--seq-len", o->seq_len, "Tokens a sequence")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  c->add_option("--threads", o->threads, "CPU threads, 0 = all")->capture_default_str();
  c->footer(
      "Example:\n  octavo gradients --model runs/a --data data/book --recipe bf16 --out "
      "gradients.safetensors");
  c->callback([o] { run(*o); });
}

}  // namespace octavo
