// SPDX-License-Identifier: Apache-2.0
// tokenize_tool TOKENIZER FILE... : token ids of each file as one JSON array a line; for parity tests.
// With --special before them, special tokens written out in the text are recognised; --decode prints decoded
// bytes of files that hold ids separated by spaces; --train N OUT FILE... trains a tokenizer.
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <vector>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/data/bpe_train.h"
#include "octavo/data/tokenizer.h"

namespace {

int train(int argc, char** argv) {
  octavo::BpeTrainer trainer;
  for (int i = 4; i < argc; ++i) trainer.add(octavo::read_file(argv[i]));
  octavo::BpeTrainOptions options;
  options.vocab_size = std::atoi(argv[2]);
  octavo::save_tokenizer_json(trainer.train(options), argv[3]);
  return 0;
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (!words.empty() && words[0] == "--train") return train(argc, argv);
  size_t at = 0;
  const bool special = at < words.size() && words[at] == "--special" && ++at;
  const bool decode = at < words.size() && words[at] == "--decode" && ++at;
  if (at + 1 >= words.size()) octavo::fail_usage("tokenize_tool [--special] [--decode] TOKENIZER FILE...");
  const auto tokenizer = octavo::load_tokenizer(words[at++]);
  for (; at < words.size(); ++at) {
    const std::string content = octavo::read_file(words[at]);
    if (decode) {
      std::istringstream stream(content);
      std::vector<int32_t> ids;
      for (int32_t id; stream >> id;) ids.push_back(id);
      std::cout << tokenizer->decode(ids);
      continue;
    }
    std::string line = "[";
    for (const int32_t id : tokenizer->encode(content, false, special))
      line += (line.size() > 1 ? "," : "") + std::to_string(id);
    std::cout << line << "]\n";
  }
  return 0;
} catch (const octavo::Error& error) {
  std::cerr << error.what() << "\n";
  return static_cast<int>(error.code());
}
