// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <vector>

#include "fuzz_input.h"
#include "octavo/data/token_source.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace octavo;
  static const FuzzDirectory directory;
  for (const char* name : {"tokens.octok", "tokens.bin"}) {  // the second may be llm.c's or nanoGPT's
    const std::string path = directory.put(name, data, size);
    expect_an_answer([&] {
      TokenSource source({path});
      std::vector<int32_t> tokens(static_cast<size_t>(std::min<int64_t>(source.size(), 4096)));
      source.tokens(source.size() - static_cast<int64_t>(tokens.size()), static_cast<int64_t>(tokens.size()),
                    tokens.data());
      source.require_vocabulary(512);
    });
  }
  return 0;
}
