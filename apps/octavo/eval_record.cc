// SPDX-License-Identifier: Apache-2.0
#include "eval_record.h"

#include <fmt/format.h>

#include <filesystem>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/recipe/recipe_file.h"

namespace octavo {
namespace fs = std::filesystem;

EvalRecorder::EvalRecorder(std::string directory, const std::string& recipe)
    : directory_(std::move(directory)) {
  if (directory_.empty()) return;
  for (const char* name : {"/tensors.jsonl", "/metrics.jsonl"})
    if (fs::exists(directory_ + name))
      fail_usage(fmt::format("--record {}: there is a {} in it already; choose another directory", directory_,
                             name + 1));
  const Recipe numbers = load_recipe(recipe);
  if (!carries_scale(numbers.role(Role::gemm_fprop_input).format) &&
      !carries_scale(numbers.role(Role::gemm_fprop_weight).format))
    fail_usage(fmt::format("--record: recipe {} has no tensor with a scale; choose one with --recipe",
                           numbers.name));
}

void EvalRecorder::begin(Transformer& model) {
  if (directory_.empty()) return;
  model_ = &model;
  model.pass().records = &records_;
}

void EvalRecorder::close_pass() {
  for (TensorRecord& record : records_) {
    record.step = step_;
    lines_ += to_json(record) + "\n";
  }
  records_.clear();
  if (++step_ > kPasses) model_->pass().records = nullptr;
}

std::function<void(int64_t, int64_t)> EvalRecorder::counting(std::function<void(int64_t, int64_t)> progress) {
  if (directory_.empty()) return progress;
  return [this, progress = std::move(progress)](int64_t done, int64_t total) {
    if (model_->pass().records) close_pass();
    progress(done, total);
  };
}

void EvalRecorder::finish() {
  if (directory_.empty()) return;
  model_->pass().records = nullptr;
  fs::create_directories(directory_);
  write_file_atomic(directory_ + "/recipe.toml", to_toml(model_->recipe()));
  write_file_atomic(directory_ + "/tensors.jsonl", lines_);
}

}  // namespace octavo
