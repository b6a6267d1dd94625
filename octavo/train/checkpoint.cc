// SPDX-License-Identifier: Apache-2.0
#include "octavo/train/checkpoint.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <type_traits>
#include <vector>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/data/tokenizer.h"
#include "octavo/io/checkpoint_dir.h"
#include "octavo/io/hf_model.h"
#include "octavo/io/json_file.h"
#include "octavo/io/safetensors.h"
#include "octavo/io/safetensors_writer.h"
#include "octavo/io/weight_source.h"

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

/// A format's code in files.
FileDtype file_dtype(Format format) {
  switch (format) {
    case Format::e4m3:
      return FileDtype::f8_e4m3;
    case Format::e5m2:
      return FileDtype::f8_e5m2;
    case Format::e4m3fnuz:
      return FileDtype::f8_e4m3fnuz;
    case Format::e5m2fnuz:
      return FileDtype::f8_e5m2fnuz;
    case Format::fp16:
      return FileDtype::f16;
    case Format::bf16:
      return FileDtype::bf16;
    default:
      return FileDtype::f32;
  }
}

/// The moments a model has, as tensors of a file.
struct Moment {
  TensorDeclaration declaration;
  Parameter* parameter;
  StateTensor* tensor;
};
std::vector<Moment> moments_of(Transformer& model) {
  std::vector<Moment> moments;
  for (Parameter& p : model.parameters().all()) {
    const auto add = [&](const char* prefix, StateTensor& t) {
      moments.push_back({{prefix + p.name, file_dtype(t.spec.format), shape_of(p),
                          static_cast<uint64_t>(p.size() * bytes(t.spec.format))},
                         &p,
                         &t});
    };
    add("moment1.", p.moment1);
    if (model.limits().state.moments > 1) add("moment2.", p.moment2);
  }
  std::sort(moments.begin(), moments.end(),
            [](const Moment& a, const Moment& b) { return file_order(a.declaration, b.declaration); });
  return moments;
}

void save_optimizer(const std::string& path, Transformer& model, StateAccess& access) {
  std::vector<Moment> moments = moments_of(model);
  if (!access.has_files()) {
    for (const Moment& m : moments) access.whole(*m.parameter, *m.tensor);
    return;
  }
  const std::vector<NamedState> scaler = model.scaler().state();
  std::map<std::string_view, const Moment*> by_name;
  std::map<std::string, const NamedState*> scalers;
  SafetensorsWriter writer(path);
  for (const Moment& m : moments) {
    writer.add(m.declaration.name, m.declaration.dtype, m.declaration.shape);
    by_name.emplace(m.declaration.name, &m);
  }
  for (const NamedState& s : scaler) {
    writer.add("scaler." + s.name, FileDtype::f32, {s.values.size()});
    scalers.emplace("scaler." + s.name, &s);
  }
  writer.write_all([&](const TensorDeclaration& t) -> std::span<const std::byte> {
    if (const auto moment = by_name.find(t.name); moment != by_name.end())
      return {static_cast<const std::byte*>(
                  access.whole(*moment->second->parameter, *moment->second->tensor).data),
              t.bytes};
    return std::as_bytes(std::span(scalers.at(t.name)->values));
  });
  writer.close();
}

/// Of a moment in `file`; throws when it is not what the model has.
std::span<const std::byte> moment_data(const SafetensorsFile& file, const Moment& m) {
  const TensorDeclaration& wanted = m.declaration;
  const TensorInfo& tensor = file.get(wanted.name);
  if (tensor.dtype() != wanted.dtype || tensor.shape() != wanted.shape)
    fail_data(fmt::format("{}: tensor {} does not have the shape {} x {} of the model, or is not {}",
                          file.path(), wanted.name, m.parameter->rows, m.parameter->cols,
                          file_dtype_name(wanted.dtype)));
  return tensor.data();
}

void load_moments(const SafetensorsFile* file, Transformer& model, StateAccess& access) {
  std::vector<std::byte> received;
  for (const Moment& m : moments_of(model)) {
    received.resize(m.declaration.bytes);
    if (file) std::memcpy(received.data(), moment_data(*file, m).data(), received.size());
    access.share(received);
    StateTensor& t = *m.tensor;
    if (!t.at.data) continue;
    const Stored all{received.data(), t.spec.format, 1};
    std::memcpy(t.at.data, from(all, t.part.first).data, t.bytes());
    if (carries_scale(t.spec.format))
      t.at.scale = model.scaler().needs_amax(t.slot) ? model.scaler().last_scale(t.slot)
                                                     : model.scaler().scale_for(t.slot);
  }
}

std::vector<NamedState> read_scaler(const SafetensorsFile& file) {
  std::vector<NamedState> scaler;
  for (const TensorInfo& tensor : file.tensors()) {
    if (tensor.name().rfind("scaler.", 0) != 0) continue;
    if (tensor.dtype() != FileDtype::f32)
      fail_data(fmt::format("{}: tensor {} is not F32", file.path(), tensor.name()));
    NamedState state{tensor.name().substr(7), std::vector<float>(static_cast<size_t>(tensor.elements()))};
    std::memcpy(state.values.data(), tensor.data().data(), tensor.data().size());
    scaler.push_back(std::move(state));
  }
  return scaler;
}

/// What the rank with the files says, on all ranks.
template <class T>
T shared(T value, StateAccess& access) {
  static_assert(std::is_trivially_copyable_v<T>);
  access.share(std::as_writable_bytes(std::span<T, 1>(&value, 1)));
  return value;
}

/// The scaler's state of the rank with the files, on all ranks.
void share_scaler(Scaler& scaler, StateAccess& access) {
  std::vector<Scaler::Memory> memories = scaler.snapshot();
  for (Scaler::Memory& m : memories) {
    m.last_scale = shared(m.last_scale, access);
    m.mu = shared(m.mu, access);
    m.filled = shared(m.filled, access);
    m.next = shared(m.next, access);
    access.share(std::as_writable_bytes(std::span(m.ring)));
  }
  scaler.restore(memories);
}

/// Masters from a directory; `as_saved` by the scales that the scaler holds.
void load_masters(const std::string& directory, Transformer& model, StateAccess& access, bool as_saved) {
  std::unique_ptr<WeightSource> source;
  if (access.has_files())
    source = std::make_unique<WeightSource>(directory, model.config(), model.parameters());
  std::vector<float> values;
  for (Parameter& p : model.parameters().all()) {
    values.resize(static_cast<size_t>(p.size()));
    if (source) source->read(p, values);
    access.share(std::as_writable_bytes(std::span(values)));
    model.set_parameter(p, values.data(), as_saved);
  }
}

/// All FP32 values of a master on the rank with the files.
class WholeMasters {
 public:
  WholeMasters(Transformer& model, StateAccess& access) : model_(model), access_(access) {}
  const float* operator()(const Parameter& p) {
    const Stored all = access_.whole(p, p.master);
    if (!access_.has_files() || all.format == Format::fp32) return static_cast<const float*>(all.data);
    values_.resize(static_cast<size_t>(p.size()));
    decode(all, p.size(), values_.data(), model_.pass().pool);
    return values_.data();
  }

 private:
  Transformer& model_;
  StateAccess& access_;
  std::vector<float> values_;
};

/// model.safetensors and config.json, and the tokenizer.
void save_model(const std::string& directory, Transformer& model, const std::string& tokenizer,
                StateAccess& access) {
  WholeMasters masters(model, access);
  if (access.has_files()) {
    save_hf_model(directory, model, FileDtype::f32, std::ref(masters));
    copy_tokenizer(tokenizer, directory);
    return;
  }
  std::vector<const Parameter*> by_name;
  for (const Parameter& p : model.parameters().all()) by_name.push_back(&p);
  std::sort(by_name.begin(), by_name.end(),
            [](const Parameter* a, const Parameter* b) { return a->name < b->name; });
  for (const Parameter* p : by_name) masters(*p);
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
                     const std::string& tokenizer, StateAccess& access) {
  std::optional<AtomicDirectory> target;
  if (access.has_files()) target.emplace(directory);
  const std::string path = target ? target->path() : "";
  access.collect_scales();
  save_model(path, model, tokenizer, access);
  save_optimizer(path + "/optimizer.safetensors", model, access);
  if (!target) return;
  write_file_atomic(
      path + "/state.json",
      fmt::format("{{\"format_version\": {}, \"step\": {}, \"tokens\": {}{}}}\n", kFormatVersion, state.step,
                  state.tokens, loss_scale_json(model, state.loss_scale)));
  target->commit({{"kind", "checkpoint"}, {"step", std::to_string(state.step)}});
}

void save_checkpoint(const std::string& directory, Transformer& model, const TrainState& state,
                     const std::string& tokenizer) {
  StateAccess here;
  save_checkpoint(directory, model, state, tokenizer, here);
}

TrainState load_checkpoint(const std::string& directory, Transformer& model, StateAccess& access) {
  TrainState state;
  std::unique_ptr<SafetensorsFile> optimizer;
  std::vector<NamedState> scaler;
  if (access.has_files()) {
    verify_directory(directory);
    const JsonObject j = JsonObject::read(directory + "/state.json");
    if (j.get_int("format_version") > kFormatVersion)
      fail_unsupported(fmt::format("{}: format_version {} is newer than this program's {}", j.source(),
                                   j.get_int("format_version"), kFormatVersion));
    state = {j.get_int("step"), j.get_int("tokens"), read_loss_scale(model, j)};
    optimizer = std::make_unique<SafetensorsFile>(directory + "/optimizer.safetensors");
    scaler = read_scaler(*optimizer);
    for (const Moment& m : moments_of(model)) moment_data(*optimizer, m);
    model.scaler().restore(scaler);
  }
  state = shared(state, access);
  share_scaler(model.scaler(), access);
  // Masters and moments by their own scales; casting the masters for the products enters histories, which are
  // then what was saved again.
  const std::vector<Scaler::Memory> saved = model.scaler().snapshot();
  load_masters(directory, model, access, true);
  model.scaler().restore(saved);
  load_moments(optimizer.get(), model, access);
  return state;
}

TrainState load_checkpoint(const std::string& directory, Transformer& model) {
  StateAccess here;
  return load_checkpoint(directory, model, here);
}

void load_initial(const std::string& directory, Transformer& model, StateAccess& access) {
  load_masters(directory, model, access, false);
}

void save_final(const std::string& directory, Transformer& model, const std::string& tokenizer,
                StateAccess& access) {
  std::optional<AtomicDirectory> target;
  if (access.has_files()) target.emplace(directory);
  save_model(target ? target->path() : "", model, tokenizer, access);
  if (target) target->commit({{"kind", "model"}});
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
