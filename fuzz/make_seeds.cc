// SPDX-License-Identifier: Apache-2.0
// make_seeds DIRECTORY: small valid files for every fuzz target, in DIRECTORY/<reader>/.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "io/gguf_builder.h"
#include "io/small_model.h"
#include "octavo/base/file.h"
#include "octavo/data/bpe_train.h"
#include "octavo/data/shard.h"
#include "octavo/data/tokenizer_tables.h"
#include "octavo/io/checkpoint_dir.h"
#include "octavo/io/fp8_export.h"
#include "octavo/io/hf_model.h"
#include "octavo/io/quantization.h"
#include "octavo/io/safetensors_writer.h"
#include "octavo/recipe/recipe_file.h"

namespace fs = std::filesystem;
using namespace octavo;

namespace {

std::string folder(const std::string& root, const char* reader) {
  fs::create_directories(fs::path(root) / reader);
  return (fs::path(root) / reader).string() + "/";
}

void put(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

void safetensors(const std::string& to) {
  const std::vector<float> values(8, 1.5f);
  write_safetensors(to + "two",
                    std::vector<TensorToWrite>{{"a", FileDtype::f32, {2, 4}, values.data()},
                                               {"b.scale", FileDtype::f8_e4m3, {3}, values.data()}},
                    {{"format", "pt"}});
  write_safetensors(to + "none", {});
}

/// The small model with FP8 weights, as export_model writes it.
void fp8_directory(const std::string& to) {
  const std::string model = to + "model.tmp", out = to + "out.tmp";
  fs::create_directories(model);
  fs::create_directories(out);
  ThreadPool pool(1);
  const ModelConfig config = small_model_config();
  Transformer made(config, load_recipe("fp32"), Purpose::training, pool);
  made.allocate({1, 1});
  made.initialize(1);
  save_hf_model(model, made, FileDtype::f32);
  export_model(model, out, load_recipe("fp8-amax"), {}, pool);
  fs::rename(out + "/model.safetensors", to + "tensor");
  fs::remove_all(model);
  fs::remove_all(out);
}

void gguf(const std::string& to) {
  GgufBuilder b = small_llama();
  put(to + "llama", b.bytes());
  b.set("tokenizer.ggml.model", gguf_string("gpt2"));
  b.set("tokenizer.ggml.pre", gguf_string("smollm"));
  b.set("tokenizer.ggml.tokens", gguf_strings({"a", "b", "ab", "<|end|>"}));
  b.set("tokenizer.ggml.token_type", gguf_ints({1, 1, 1, 3}));
  b.set("tokenizer.ggml.merges", gguf_strings({"a b"}));
  b.set("tokenizer.ggml.bos_token_id", gguf_u32(3));
  b.set("tokenizer.ggml.add_bos_token", gguf_bool(true));
  b.set("llama.rope.freq_base", gguf_f32(1e5f));
  put(to + "tokenizer", b.bytes());
  b = small_llama();
  b.set("llama.embedding_length", gguf_u32(32));
  b.tensors = {{"token_embd.weight", {32, 1}, 8, std::string(34, '\1')},
               {"output_norm.weight", {32}, 2, std::string(18, '\2')}};
  put(to + "blocks", b.bytes());
}

void shards(const std::string& to) {
  const std::vector<int32_t> tokens{1, 2, 3, 500, 4};
  for (const auto& [name, format] : {std::pair("octavo.octok", ShardFormat::octavo),
                                     {"llmc.bin", ShardFormat::llmc},
                                     {"nanogpt.bin", ShardFormat::nanogpt}}) {
    ShardHeader header;
    header.format = format;
    header.vocab_size = 512;
    write_shard(to + name, header, tokens);
  }
}

void tokenizers(const std::string& to) {
  BpeTrainer trainer;
  trainer.add("the cat and the hat and the bat sat on the mat");
  BpeTrainOptions options;
  options.vocab_size = 270;
  save_tokenizer_json(trainer.train(options), to);
  fs::remove(to + "tokenizer_config.json");
  TokenizerTables tables;
  tables.source = "seed";
  tables.model = "gpt2";
  tables.pre = "llama-bpe";
  tables.tokens = {"a", "b", "ab", "<s>"};
  tables.types = {1, 1, 1, 3};
  tables.merges = {"a b"};
  tables.bos = 3;
  tables.add_bos = true;
  const std::string other = to + "tables";
  fs::create_directories(other);
  save_tokenizer_tables(tables, other);
  fs::rename(other + "/tokenizer.json", to + "small.json");
  fs::remove_all(other);
  put(to + "metaspace.json",
      R"({"added_tokens":[{"id":0,"content":"<s>","special":true}],"normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"_"},{"type":"Replace","pattern":{"String":" "},"content":"_"},{"type":"NFKC"}]},"pre_tokenizer":{"type":"Metaspace","replacement":"_"},"decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"_"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},"model":{"type":"BPE","byte_fallback":true,"unk_token":"<s>","fuse_unk":true,"vocab":{"<s>":0,"_":1,"a":2,"_a":3},"merges":[["_","a"]]}})");
}

void checkpoints(const std::string& to) {
  const ModelConfig config = small_model_config();
  put(to + "llama.json", hf_config_json(config, FileDtype::f32));
  Quantization q;
  q.ignore = {"lm_head"};
  put(to + "tensor.json", with_quantization(hf_config_json(config, FileDtype::bf16), q));
  q.convention = Quantization::Convention::fp8;
  q.weights = {Granularity::block, 128, 128};
  put(to + "block.json", with_quantization(hf_config_json(config, FileDtype::bf16), q));
  ModelConfig gpt2 = config;
  gpt2.family = Family::gpt2;
  gpt2.activation = Activation::gelu_tanh;
  put(to + "gpt2.json", hf_config_json(gpt2, FileDtype::f32));
  put(to + "index.json",
      R"({"metadata":{"total_size":8},"weight_map":{"a":"model-00001-of-00001.safetensors"}})");
  AtomicDirectory directory(to + "made");
  put(directory.path() + "/state.json", "{\"step\": 1}\n");
  directory.commit({{"kind", "checkpoint"}});
  fs::rename(to + "made/MANIFEST.json", to + "manifest.json");
  fs::remove_all(to + "made");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_seeds DIRECTORY\n");
    return 2;
  }
  const std::string root = argv[1];
  safetensors(folder(root, "safetensors"));
  fp8_directory(folder(root, "fp8_directory"));
  gguf(folder(root, "gguf"));
  shards(folder(root, "shard"));
  tokenizers(folder(root, "tokenizer_json"));
  const std::string recipes = folder(root, "recipe");
  for (const std::string& name : recipe_names()) put(recipes + name + ".toml", recipe_text(name));
  checkpoints(folder(root, "checkpoint_json"));
  return 0;
}
