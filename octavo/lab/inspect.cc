// SPDX-License-Identifier: Apache-2.0
#include "octavo/lab/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/base/quote_name.h"
#include "octavo/data/dataset.h"
#include "octavo/data/token_source.h"
#include "octavo/io/checkpoint_dir.h"
#include "octavo/io/gguf.h"
#include "octavo/io/json_file.h"
#include "octavo/io/llama2c.h"
#include "octavo/io/tensor_directory.h"
#include "octavo/lab/run_trials.h"
#include "octavo/report/report.h"

namespace octavo {
namespace fs = std::filesystem;
namespace {

bool there(const std::string& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

void add(Inspection& out, const char* key, std::variant<std::string, int64_t, double, bool> value) {
  out.facts.push_back({key, std::move(value)});
}
/// A figure that is not known is left out.
void add_known(Inspection& out, const char* key, double value) {
  if (std::isfinite(value)) add(out, key, value);
}

/// "P_scale" or "P_scale_inv" beside an FP8 tensor P, maybe in another shard; both mean value = code * scale.
template <class Files>
const TensorInfo* scale_of(const Files& files, const TensorInfo& tensor) {
  if (file_dtype_bits(tensor.dtype()) != 8) return nullptr;
  const TensorInfo* scale = files.find(tensor.name() + "_scale");
  return scale ? scale : files.find(tensor.name() + "_scale_inv");
}

template <class Files>
void add_tensors(Inspection& out, const SafetensorsFile& file, const Files& files) {
  for (const TensorInfo& tensor : file.tensors())
    out.tensors.push_back(tensor_facts(tensor, scale_of(files, tensor)));
}

Inspection inspect_safetensors(const std::string& path) {
  Inspection out{path, "safetensors", {}, {}};
  const SafetensorsFile file(path);
  for (const auto& [key, value] : file.metadata()) out.facts.push_back({"metadata " + key, value});
  add_tensors(out, file, file);
  return out;
}

Inspection inspect_llama2c(const Llama2cModel& model, const std::string& path) {
  Inspection out{path, "llama2.c model", {}, {}};
  const Llama2cConfig& c = model.config();
  add(out, "model",
      fmt::format("llama, {} x {}, {} heads over {} key/value heads, context {}", c.n_layers, c.dim,
                  c.n_heads, c.n_kv_heads, c.max_seq_len));
  add(out, "vocabulary", c.vocab_size);
  std::vector<float> values;
  for (const Llama2cTensor& tensor : model.tensors()) {
    values.resize(static_cast<size_t>(tensor.elements()));
    model.read(tensor, values);
    out.tensors.push_back(tensor_facts(tensor.name, path, tensor.shape, values));
  }
  return out;
}

/// Tensors as they are named and stored in the file; the figures are of their values in FP32.
Inspection inspect_gguf(const std::string& path) {
  Inspection out{path, "GGUF file", {}, {}};
  const GgufFile file(path);
  add(out, "version", static_cast<int64_t>(file.version()));
  const std::string architecture(file.find_string("general.architecture").value_or("not said"));
  add(out, "architecture", architecture);
  for (const auto& [key, name] : {std::pair{"name", "general.name"}, {"license", "general.license"}})
    if (const auto value = file.find_string(name)) add(out, key, std::string(*value));
  for (const auto& [key, name] : {std::pair{"layers", ".block_count"},
                                  {"width", ".embedding_length"},
                                  {"heads", ".attention.head_count"},
                                  {"key/value heads", ".attention.head_count_kv"},
                                  {"context", ".context_length"}})
    if (const auto value = file.find_int(architecture + name)) add(out, key, *value);
  if (const auto kind = file.find_string("tokenizer.ggml.model")) {
    const auto pre = file.find_string("tokenizer.ggml.pre");
    add(out, "tokenizer", pre ? fmt::format("{} ({})", *kind, *pre) : std::string(*kind));
  }
  if (const auto tokens = file.find_strings("tokenizer.ggml.tokens"))
    add(out, "vocabulary", static_cast<int64_t>(tokens->size()));
  std::vector<float> values;
  for (const GgufTensor& tensor : file.tensors()) {
    values.resize(tensor.elements());
    decode_gguf(*tensor.encoding, tensor.data.data(), tensor.elements(), values.data());
    TensorFacts facts = tensor_facts(tensor.name, path, tensor.shape, values);
    facts.dtype = tensor.encoding->name;
    facts.bytes = tensor.data.size();
    out.tensors.push_back(std::move(facts));
  }
  return out;
}

Inspection inspect_shard(const std::string& path) {
  Inspection out{path, "token shard", {}, {}};
  TokenSource source({path});
  const ShardHeader& header = source.header(0);
  add(out, "format", std::string(to_string(header.format)));
  add(out, "tokens", source.size());
  add(out, "bytes per token", static_cast<int64_t>(header.bytes_per_token));
  if (header.vocab_size > 0) add(out, "vocabulary", header.vocab_size);
  if (header.text_bytes > 0) add(out, "text bytes", header.text_bytes);
  if (header.tokenizer != 0) add(out, "tokenizer", fmt::format("{:016x}", header.tokenizer));
  // Checks ids and checksum too.
  if (header.vocab_size > 0) source.require_vocabulary(header.vocab_size);
  constexpr int64_t kChunk = 1 << 16;
  std::vector<int32_t> ids(static_cast<size_t>(std::min(kChunk, source.size())));
  std::vector<bool> seen;
  int32_t low = INT32_MAX, high = -1;
  for (int64_t begin = 0; begin < source.size(); begin += kChunk) {
    const int64_t count = std::min(kChunk, source.size() - begin);
    source.tokens(begin, count, ids.data());
    for (int64_t i = 0; i < count; ++i) {
      const int32_t id = ids[static_cast<size_t>(i)];
      low = std::min(low, id);
      high = std::max(high, id);
      // Ids of a file without a vocabulary may be anything; what is counted stays small.
      constexpr int32_t kCounted = 1 << 24;
      if (id >= kCounted) continue;
      if (static_cast<size_t>(id) >= seen.size()) seen.resize(static_cast<size_t>(id) + 1, false);
      seen[static_cast<size_t>(id)] = true;
    }
  }
  if (high >= 0) {
    add(out, "smallest id", static_cast<int64_t>(low));
    add(out, "largest id", static_cast<int64_t>(high));
    add(out, "different ids", static_cast<int64_t>(std::count(seen.begin(), seen.end(), true)));
  }
  return out;
}

Inspection inspect_dataset(const std::string& path) {
  Inspection out{path, "data set", {}, {}};
  const Dataset d = read_dataset(path);
  add(out, "format", std::string(to_string(d.format)));
  add(out, "vocabulary", d.vocab_size);
  add(out, "tokenizer", d.has_tokenizer ? "in the directory" : std::string("none"));
  for (const auto& [name, split] : {std::pair{"train", &d.train}, {"validation", &d.val}}) {
    if (split->tokens > 0) open_split(d, *split);  // the shards are there and as long as they should be
    add(out, name,
        fmt::format("{} tokens of {} bytes of text, {} documents, {} shards", split->tokens,
                    split->text_bytes, split->documents, split->shards.size()));
  }
  for (const Dataset::Source& source : d.sources)
    add(out, "made from", fmt::format("{} ({} bytes)", source.path, source.bytes));
  return out;
}

Inspection inspect_model(const std::string& path) {
  Inspection out{path, "model", {}, {}};
  if (there(path + "/MANIFEST.json")) {
    const Manifest manifest = verify_directory(path);
    const auto kind = manifest.info.find("kind");
    if (kind != manifest.info.end()) out.kind = kind->second;
    add(out, "checksums", fmt::format("{} files, all as in MANIFEST.json", manifest.files.size()));
  }
  if (there(path + "/state.json")) {
    const JsonObject state = JsonObject::read(path + "/state.json");
    add(out, "step", state.get_int("step"));
    add(out, "tokens", state.get_int("tokens"));
  }
  if (there(path + "/config.json")) {
    const JsonObject config = JsonObject::read(path + "/config.json");
    if (const auto type = config.find_string("model_type")) add(out, "model type", *type);
    for (const auto& [key, names] : {std::pair{"layers", std::pair{"n_layer", "num_hidden_layers"}},
                                     {"width", {"n_embd", "hidden_size"}},
                                     {"heads", {"n_head", "num_attention_heads"}},
                                     {"context", {"n_positions", "max_position_embeddings"}},
                                     {"vocabulary", {"vocab_size", "vocab_size"}}}) {
      const char* name = config.has(names.first) ? names.first : names.second;
      if (const auto value = config.find_int(name)) add(out, key, *value);
    }
  }
  const TensorDirectory weights(path);
  for (const SafetensorsFile& file : weights.files()) add_tensors(out, file, weights);
  if (there(path + "/optimizer.safetensors")) {
    const SafetensorsFile optimizer(path + "/optimizer.safetensors");
    add_tensors(out, optimizer, optimizer);
  }
  return out;
}

void add_checkpoints(Inspection& out, const std::string& path) {
  std::vector<std::string> names;
  if (there(path + "/checkpoints"))
    for (const auto& entry : fs::directory_iterator(path + "/checkpoints"))
      if (entry.is_directory()) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  std::string text;
  for (const std::string& name : names) {
    std::string state;
    if (!there(path + "/checkpoints/" + name + "/MANIFEST.json")) state = " (incomplete)";
    text += (text.empty() ? "" : ", ") + name + state;
  }
  add(out, "checkpoints", text.empty() ? "none" : text);
}

Inspection inspect_run(const std::string& path) {
  Inspection out{path, "run", {}, {}};
  RunData data = read_run(path);
  const std::vector<std::string> notes = data.notes;
  const auto config = data.config;
  const auto env = data.env;
  const bool logged = !data.tensors.empty();
  std::vector<RunData> one;
  one.push_back(std::move(data));
  const Report report = make_report(std::move(one));
  const RunReport& run = report.runs.front();
  const auto text_of = [](const auto& map, const char* key) {
    const auto found = map.find(key);
    return found == map.end() ? std::string() : found->second;
  };
  const std::string planned = text_of(config, "train.steps"), model = text_of(env, "model");
  if (!model.empty()) add(out, "model", model);
  if (!run.data.recipe.empty()) add(out, "recipe", run.data.recipe);
  for (const char* key : {"preset", "seed"})
    if (const std::string value = text_of(config, key); !value.empty()) add(out, key, value);
  add(out, "state",
      there(path + "/diverged.json")         ? std::string("diverged")
      : there(path + "/final/MANIFEST.json") ? "finished"
      : there(path + "/" + kFinishedMark)    ? "finished; its model was not kept"
                                             : "not finished; octavo train --resume goes on");
  add(out, "steps", run.steps_done);
  if (!planned.empty()) add(out, "planned steps", planned);
  add_known(out, "tokens", run.tokens);
  add_known(out, "training loss", run.train_loss);
  add_known(out, "validation loss", run.val_loss);
  if (std::isfinite(run.val_loss)) add(out, "validation step", run.val_step);
  add_known(out, "tokens per second", run.tokens_per_second);
  add_known(out, "seconds in steps", run.wall_seconds);
  add_known(out, "parameters", run.data.parameters);
  if (logged)
    add(out, "logged tensors",
        fmt::format("{} at {} steps", run.tensors.rows.size(), run.tensors.logged_steps));
  add_checkpoints(out, path);
  for (const std::string& note : notes) add(out, "note", note);
  return out;
}

Inspection inspect_directory(const std::string& path) {
  if (there(path + "/dataset.json")) return inspect_dataset(path);
  if (there(path + "/metrics.jsonl") || there(path + "/tensors.jsonl")) return inspect_run(path);
  if (there(path + "/model.safetensors") || there(path + "/model.safetensors.index.json") ||
      there(path + "/MANIFEST.json"))
    return inspect_model(path);
  fail_data(
      fmt::format("{} is none of: model or checkpoint (model.safetensors), run (metrics.jsonl), data set "
                  "(dataset.json)",
                  quote_name(path)));
}

bool starts_with(std::span<const std::byte> bytes, std::string_view magic) {
  return bytes.size() >= magic.size() &&
         std::equal(magic.begin(), magic.end(), bytes.begin(),
                    [](char c, std::byte b) { return static_cast<std::byte>(c) == b; });
}

/// A .bin file is a shard of llm.c by its magic, a llama2.c model when its size is what its header implies,
/// and else nanoGPT's tokens, which have no header.
Inspection inspect_bin(const std::string& path) {
  {
    const MappedFile file(path);
    if (read_shard_header(file.bytes(), path).format == ShardFormat::llmc) return inspect_shard(path);
  }
  try {
    return inspect_llama2c(Llama2cModel(path), path);
  } catch (const Error&) {
    return inspect_shard(path);
  }
}

}  // namespace

Inspection inspect(const std::string& path) {
  std::error_code ignored;
  if (!there(path)) fail_data(fmt::format("there is no file or directory {}", quote_name(path)));
  if (fs::is_directory(path, ignored)) return inspect_directory(path);
  const std::string extension = fs::path(path).extension().string();
  if (extension == ".safetensors") return inspect_safetensors(path);
  bool tokens = false, gguf = false;
  {
    const MappedFile file(path);
    gguf = starts_with(file.bytes(), "GGUF");
    tokens = starts_with(file.bytes(), "OCTOKEN\n");
  }
  if (gguf) return inspect_gguf(path);
  if (tokens || extension == ".octok") return inspect_shard(path);
  if (extension == ".bin") return inspect_bin(path);
  fail_data(
      fmt::format("{} is none of: .safetensors, GGUF, token shard (.octok, .bin), llama2.c model (.bin)",
                  quote_name(path)));
}

}  // namespace octavo
