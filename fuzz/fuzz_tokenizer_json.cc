// SPDX-License-Identifier: Apache-2.0
#include "fuzz_input.h"
#include "octavo/data/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace octavo;
  static const FuzzDirectory directory;
  const std::string path = directory.put("tokenizer.json", data, size);
  return expect_an_answer([&] {
    const auto tokenizer = load_tokenizer(path);
    const std::string text = "In the beginning, 1234 words\n\n \xF0\x9F\xA6\x99 \xff <|endoftext|>";
    tokenizer->decode(tokenizer->encode(text, true, true));
  });
}
