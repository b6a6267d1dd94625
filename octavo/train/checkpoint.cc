// SPDX-License-Identifier: Apache-2.0
#include "octavo/train/checkpoint.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <vector>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/data/tokenizer.h"
#include "octavo/io/checkpoint_dir.h"
#include "octavo/io/hf_model.h"
#include "octavo/io/json_file.h"
#include "octavo/io/safetensors.h"
#include "octavo/io/safetensors_writer.h"

namespace octavo {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kFormatVersion = 1;

void copy_tokenizer(const std::string& from, const std::string& directory) {
  if (from.empty()) return;
  for (const std::string& file : tokenizer_files(from))
    write_file_atomic(directory + "/" + fs::path(file).filename().string(), read_file(file));
}

std::vector<uint64_t> shape_of(const Parameter& p) {
  return {static_cast<uint64_t>(p.rows), static_cast<uint64_t>(p.cols)};
}

void save_optimizer(const std::string& path, Transformer& model) {
  const std::vector<NamedState> scaler = model.scaler().state();
  std::vector<TensorToWrite> tensors;
  for (const Parameter& p : model.parameters().all()) {
    tensors.push_back({"moment1." + p.name, FileDtype::f32, shape_of(p), p.moment1});
    if (p.moment2) tensors.push_back({"moment2." + p.name, FileDtype::f32, shape_of(p), p.moment2});
  }
  for (const NamedState& s : scaler)
    tensors.push_back({"scaler." + s.name, FileDtype::f32, {s.values.size()}, s.values.data()});
  write_safetensors(path, tensors);
}

void read_moment(const SafetensorsFile& file, const std::string& name, const Parameter& p, float* out) {
  const TensorInfo& tensor = file.get(name);
  if (tensor.dtype() != FileDtype::f32 || tensor.shape() != shape_of(p))
    fail_data(fmt::format("{}: tensor {} does not have the shape {} x {} of the model, or is not F32",
                          file.path(), name, p.rows, p.cols));
  std::memcpy(out, tensor.data().data(), static_cast<size_t>(p.size()) * sizeof(float));
}

void load_optimizer(const std::string& path, Transformer& model) {
  const SafetensorsFile file(path);
  std::vector<NamedState> scaler;
  for (Parameter& p : model.parameters().all()) {
    read_moment(file, "moment1." + p.name, p, p.moment1);
    if (p.moment2) read_moment(file, "moment2." + p.name, p, p.moment2);
  }
  for (const TensorInfo& tensor : file.tensors()) {
    if (tensor.name().rfind("scaler.", 0) != 0) continue;
    if (tensor.dtype() != FileDtype::f32)
      fail_data(fmt::format("{}: tensor {} is not F32", path, tensor.name()));
    NamedState state{tensor.name().substr(7), std::vector<float>(static_cast<size_t>(tensor.elements()))};
    std::memcpy(state.values.data(), tensor.data().data(), tensor.data().size());
    scaler.push_back(std::move(state));
  }
  model.scaler().restore(scaler);
}

std::vector<int64_t> steps_in(const std::string& run) {
  std::vector<int64_t> steps;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run + "/checkpoints", error)) {
    const std::string name = entry.path().filename().string();
    int64_t step = 0;
    const auto [end, failed] =
        std::from_chars(name.data() + std::min<size_t>(5, name.size()), name.data() + name.size(), step);
    // Only names this program writes: no signs, no missing zeros, no number too large.
    if (failed == std::errc() && step >= 0 && checkpoint_path(run, step) == run + "/checkpoints/" + name)
      steps.push_back(step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

bool has_loss_scale(const Transformer& model) { return model.recipe().loss.kind == LossScaling::dynamic; }

std::string loss_scale_json(const Transformer& model, const LossScaleState& s) {
  if (!has_loss_scale(model)) return "";
  return fmt::format(
      ", \"loss_scale_exponent\": {}, \"loss_scale_good_steps\": {}, \"loss_scale_skipped\": {}", s.exponent,
      s.good, s.skipped);
}

LossScaleState read_loss_scale(const Transformer& model, const JsonObject& j) {
  if (!has_loss_scale(model)) return {};
  const LossScaleState s{j.get_int("loss_scale_exponent"), j.get_int("loss_scale_good_steps"),
                         j.get_int("loss_scale_skipped")};
  if (s.exponent < 0 || s.exponent > LossScaler::kLargest || s.good < 0 ||
      s.good >= LossScaler::kGrowthSteps || s.skipped < 0)
    fail_data(fmt::format("{}: the state of the loss scale ({}, {}, {}) is out of range", j.source(),
                          s.exponent, s.good, s.skipped));
  return s;
}

}  // namespace

std::string checkpoint_path(const std::string& run, int64_t step) {
  return fmt::format("{}/checkpoints/step_{:08d}", run, step);
}

void save_checkpoint(const std::string& directory, Transformer& model, const TrainState& state,
                     const std::string& tokenizer) {
  AtomicDirectory target(directory);
  save_hf_model(target.path(), model, FileDtype::f32);
  copy_tokenizer(tokenizer, target.path());
  save_optimizer(target.path() + "/optimizer.safetensors", model);
  write_file_atomic(
      target.path() + "/state.json",
      fmt::format("{{\"format_version\": {}, \"step\": {}, \"tokens\": {}{}}}\n", kFormatVersion, state.step,
                  state.tokens, loss_scale_json(model, state.loss_scale)));
  target.commit({{"kind", "checkpoint"}, {"step", std::to_string(state.step)}});
}

TrainState load_checkpoint(const std::string& directory, Transformer& model) {
  verify_directory(directory);
  const JsonObject j = JsonObject::read(directory + "/state.json");
  if (j.get_int("format_version") > kFormatVersion)
    fail_unsupported(fmt::format("{}: format_version {} is newer than this program's {}", j.source(),
                                 j.get_int("format_version"), kFormatVersion));
  load_hf_weights(directory, model);
  load_optimizer(directory + "/optimizer.safetensors", model);
  return {j.get_int("step"), j.get_int("tokens"), read_loss_scale(model, j)};
}

void save_final(const std::string& directory, Transformer& model, const std::string& tokenizer) {
  AtomicDirectory target(directory);
  save_hf_model(target.path(), model, FileDtype::f32);
  copy_tokenizer(tokenizer, target.path());
  target.commit({{"kind", "model"}});
}

std::optional<std::string> newest_checkpoint(const std::string& run, std::string* skipped) {
  std::vector<int64_t> steps = steps_in(run);
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    const std::string path = checkpoint_path(run, *step);
    try {
      verify_directory(path);
      return path;
    } catch (const Error& error) {
      if (skipped) *skipped += (skipped->empty() ? "" : "\n") + std::string(error.what());
    }
  }
  return std::nullopt;
}

void set_aside_checkpoints_after(const std::string& run, int64_t step) {
  for (const int64_t later : steps_in(run)) {
    if (later <= step) continue;
    const std::string path = checkpoint_path(run, later), aside = path + ".damaged";
    std::error_code error;
    fs::remove_all(aside, error);
    fs::rename(path, aside, error);
    if (error) fail_data(fmt::format("cannot rename the damaged checkpoint '{}': {}", path, error.message()));
  }
}

void prune_checkpoints(const std::string& run, int64_t keep) {
  const std::vector<int64_t> steps = steps_in(run);
  for (size_t i = 0; i + static_cast<size_t>(keep) < steps.size(); ++i) {
    // Deleting takes a while. Under a temporary name nobody takes the half that is left for a checkpoint, and
    // it is cleaned up.
    const std::string path = checkpoint_path(run, steps[i]),
                      doomed = fmt::format("{}.tmp-{}", path, ::getpid());
    std::error_code error;
    fs::rename(path, doomed, error);
    if (!error) fs::remove_all(doomed, error);
    if (error) fail_data(fmt::format("cannot delete the old checkpoint '{}': {}", path, error.message()));
  }
}

}  // namespace octavo
