// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "command.h"
#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/data/tokenizer.h"
#include "octavo/io/checkpoint_dir.h"
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

void run(const Options& o) {
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
  fmt::print("{}\n", o.out);
}

}  // namespace

void add_import(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* c =
      app.add_subcommand("import", "Turn a llama2.c checkpoint (.bin) into a Hugging Face model directory");
  c->add_option("--input", o->input, "llama2.c model file")->required();
  c->add_option("--tokenizer", o->tokenizer, "llama2.c tokenizer file")->required();
  c->add_option("--out", o->out, "Directory to write")->required();
  c->footer(
      "Example:\n  octavo import --input stories260K.bin --tokenizer tok512.bin --out models/stories260K");
  c->callback([o] { run(*o); });
}

}  // namespace octavo
