// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <memory>

#include "command.h"
#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/data/tokenizer.h"
#include "octavo/data/tokenizer_tables.h"
#include "octavo/io/checkpoint_dir.h"
#include "octavo/io/gguf_model.h"
#include "octavo/io/hf_model.h"
#include "octavo/io/llama2c.h"
#include "octavo/io/safetensors_writer.h"

namespace octavo {
namespace {

struct Options {
  std::string input, tokenizer, out;
};

ModelConfig config_of(const Llama2cModel& model, const std::string& source) {
  const Llama2cConfig& from = model.config();
  ModelConfig c;
  c.family = Family::llama;
  c.vocab_size = from.vocab_size;
  c.context = from.max_seq_len;
  c.width = from.dim;
  c.layers = from.n_layers;
  c.heads = from.n_heads;
  c.kv_heads = from.n_kv_heads;
  c.head_dim = from.head_dim();
  c.ffn = from.hidden_dim;
  c.activation = Activation::silu;
  c.norm_eps = 1e-5;  // llama2.c's constants
  c.rope_theta = 10000.0;
  c.tied_head = from.shared_classifier;
  c.bos = 1;
  c.eos = {2};
  validate(c, source);
  return c;
}

void import_llama2c(const Options& o) {
  if (o.tokenizer.empty()) fail_usage("a llama2.c model holds no tokenizer: give its file with --tokenizer");
  const Llama2cModel model(o.input);
  const ModelConfig config = config_of(model, o.input);
  const auto tokenizer = load_tokenizer(o.tokenizer);
  if (tokenizer->vocab_size() != config.vocab_size)
    fail_data(fmt::format("{} has {} tokens, the model {}: they do not belong together", o.tokenizer,
                          tokenizer->vocab_size(), config.vocab_size));

  AtomicDirectory target(o.out);
  SafetensorsWriter writer(target.path() + "/model.safetensors", {{"format", "pt"}});
  for (const Llama2cTensor& tensor : model.tensors()) writer.add(tensor.name, FileDtype::f32, tensor.shape);
  std::vector<float> values;
  writer.write_all([&](const TensorDeclaration& declaration) {
    const Llama2cTensor& tensor = *model.find(declaration.name);
    values.resize(static_cast<size_t>(tensor.elements()));
    model.read(tensor, values);
    return std::as_bytes(std::span<const float>(values));
  });
  writer.close();
  write_file_atomic(target.path() + "/config.json", hf_config_json(config, FileDtype::f32));
  // load_tokenizer finds a llama2.c vocabulary in a directory under this name.
  write_file_atomic(target.path() + "/tokenizer.bin", read_file(o.tokenizer));
  target.commit({{"kind", "model"}});
}

TokenizerTables tables_of(const GgufFile& file) {
  TokenizerTables t;
  t.source = file.path();
  t.model = file.get_string("tokenizer.ggml.model");
  t.pre = file.find_string("tokenizer.ggml.pre").value_or("default");
  t.tokens = file.find_strings("tokenizer.ggml.tokens").value_or(std::vector<std::string_view>{});
  t.types = file.find_ints("tokenizer.ggml.token_type").value_or(std::vector<int64_t>{});
  t.scores = file.find_floats("tokenizer.ggml.scores").value_or(std::vector<float>{});
  t.merges = file.find_strings("tokenizer.ggml.merges").value_or(std::vector<std::string_view>{});
  t.bos = file.find_int("tokenizer.ggml.bos_token_id");
  t.eos = file.find_int("tokenizer.ggml.eos_token_id");
  t.unknown = file.find_int("tokenizer.ggml.unknown_token_id");
  t.padding = file.find_int("tokenizer.ggml.padding_token_id");
  // llama.cpp's defaults where the file is silent.
  const bool bos_by_default =
      t.model == "llama" || t.pre == "llama-bpe" || t.pre == "llama3" || t.pre == "llama-v3";
  t.add_bos = file.find_bool("tokenizer.ggml.add_bos_token").value_or(bos_by_default);
  t.add_space_prefix = file.find_bool("tokenizer.ggml.add_space_prefix").value_or(true);
  t.chat_template = file.find_string("tokenizer.chat_template").value_or("");
  return t;
}

void import_gguf(const Options& o) {
  const GgufModel model(o.input);
  AtomicDirectory target(o.out);
  // The tokenizer first: if it is not supported, that should not show after gigabytes.
  if (o.tokenizer.empty())
    save_tokenizer_tables(tables_of(model.file()), target.path());
  else
    for (const std::string& file : tokenizer_files(o.tokenizer))
      write_file_atomic(
          (std::filesystem::path(target.path()) / std::filesystem::path(file).filename()).string(),
          read_file(file));
  const auto tokenizer = load_tokenizer(target.path());
  if (tokenizer->vocab_size() > model.config().vocab_size)
    fail_data(fmt::format("'{}': the tokenizer has {} tokens, the model {}: they do not belong together",
                          o.tokenizer.empty() ? o.input : o.tokenizer, tokenizer->vocab_size(),
                          model.config().vocab_size));

  SafetensorsWriter writer(target.path() + "/model.safetensors", {{"format", "pt"}});
  for (const GgufParameter& p : model.parameters()) writer.add(p.name, p.dtype, p.source->shape);
  std::vector<std::byte> values;
  writer.write_all([&](const TensorDeclaration& declaration) {
    model.read(*model.find(declaration.name), values);
    return std::span<const std::byte>(values);
  });
  writer.close();
  write_file_atomic(target.path() + "/config.json", hf_config_json(model.config(), FileDtype::f32));
  target.commit({{"kind", "model"}});
}

bool is_gguf(const std::string& path) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  return path.ends_with(".gguf") || (bytes.size() >= 4 && std::memcmp(bytes.data(), "GGUF", 4) == 0);
}

void run(const Options& o) {
  if (is_gguf(o.input))
    import_gguf(o);
  else
    import_llama2c(o);
  fmt::print("{}\n", o.out);
}

}  // namespace

void add_import(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* c = app.add_subcommand(
      "import", "Turn a GGUF file or a llama2.c checkpoint into a Hugging Face model directory");
  c->add_option("file,--input", o->input,
                "Model file: GGUF (llama, " + readable_gguf_encodings() + ") or llama2.c (.bin)")
      ->required();
  c->add_option("--tokenizer", o->tokenizer,
                "Tokenizer file or directory; GGUF: instead of the one in the file");
  c->add_option("--out", o->out, "Directory to write")->required();
  c->footer(
      "Examples:\n  octavo import SmolLM2-135M.gguf --out models/smollm2\n"
      "  octavo import --input stories260K.bin --tokenizer tok512.bin --out models/stories260K");
  c->callback([o] { run(*o); });
}

}  // namespace octavo
