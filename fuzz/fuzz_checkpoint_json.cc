// SPDX-License-Identifier: Apache-2.0
// The JSON files of a checkpoint: its manifest, and config.json with a quantization_config.
#include "fuzz_input.h"
#include "octavo/io/checkpoint_dir.h"
#include "octavo/io/hf_model.h"
#include "octavo/io/quantization.h"
#include "octavo/io/tensor_directory.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace octavo;
  static const FuzzDirectory directory;
  for (const char* name : {"MANIFEST.json", "config.json", "model.safetensors.index.json"})
    directory.put(name, data, size);
  expect_an_answer([&] { verify_directory(directory.path()); });
  expect_an_answer([&] {
    const ModelConfig config = read_hf_config(directory.path());
    const std::string written = hf_config_json(config, FileDtype::f32);
    JsonObject::parse(written, "config.json");
  });
  expect_an_answer([&] {
    const auto quantization = read_quantization(JsonObject::read(directory.path() + "/config.json"));
    if (!quantization) return;
    quantization->scale_shape(1000, 1000);
    quantization->ignores("model.layers.0.mlp.up_proj");
  });
  return expect_an_answer([&] { TensorDirectory files(directory.path()); });
}
