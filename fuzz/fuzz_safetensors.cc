// SPDX-License-Identifier: Apache-2.0
#include "fuzz_input.h"
#include "octavo/io/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace octavo;
  static const FuzzDirectory directory;
  const std::string path = directory.put("model.safetensors", data, size);
  return expect_an_answer([&] {
    const SafetensorsFile file(path);
    volatile uint8_t sum = 0;
    for (const TensorInfo& tensor : file.tensors())
      for (const std::byte byte : tensor.data()) sum = sum ^ static_cast<uint8_t>(byte);
  });
}
