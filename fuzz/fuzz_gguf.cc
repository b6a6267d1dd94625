// SPDX-License-Identifier: Apache-2.0
#include "fuzz_input.h"
#include "octavo/data/tokenizer_tables.h"
#include "octavo/io/gguf_model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace octavo;
  static const FuzzDirectory directory;
  const std::string path = directory.put("model.gguf", data, size);
  expect_an_answer([&] {
    const GgufFile file(path);
    TokenizerTables tables;
    tables.source = path;
    tables.model = file.get_string("tokenizer.ggml.model");
    tables.pre = file.find_string("tokenizer.ggml.pre").value_or("gpt-2");
    tables.tokens = file.find_strings("tokenizer.ggml.tokens").value_or(std::vector<std::string_view>{});
    tables.types = file.find_ints("tokenizer.ggml.token_type").value_or(std::vector<int64_t>{});
    tables.scores = file.find_floats("tokenizer.ggml.scores").value_or(std::vector<float>{});
    tables.merges = file.find_strings("tokenizer.ggml.merges").value_or(std::vector<std::string_view>{});
    tables.bos = file.find_int("tokenizer.ggml.bos_token_id");
    tables.add_bos = file.find_bool("tokenizer.ggml.add_bos_token").value_or(false);
    save_tokenizer_tables(tables, directory.path());
  });
  return expect_an_answer([&] {
    const GgufModel model(path);
    std::vector<std::byte> values;
    for (const GgufParameter& parameter : model.parameters()) model.read(parameter, values);
  });
}
