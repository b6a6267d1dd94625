// SPDX-License-Identifier: Apache-2.0
// The input is model.safetensors of a directory whose config.json quantizes it.
#include <vector>

#include "fuzz_input.h"
#include "io/small_model.h"
#include "octavo/base/file.h"
#include "octavo/io/hf_model.h"
#include "octavo/io/weight_source.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace octavo;
  static const FuzzDirectory directory;
  static const ModelConfig config = small_model_config();
  static ThreadPool pool(1);
  static Transformer model(config, Recipe(), Purpose::inference, pool);
  static const bool once = [] {
    Quantization q;
    q.ignore = {"lm_head"};
    write_file_atomic(directory.path() + "/config.json",
                      with_quantization(hf_config_json(config, FileDtype::bf16), q));
    return true;
  }();
  directory.put("model.safetensors", data, size);
  return expect_an_answer([&] {
    const WeightSource source(directory.path(), config, model.parameters());
    std::vector<float> values;
    for (const Parameter& parameter : model.parameters().all()) source.read(parameter, values);
    if (!once) std::abort();
  });
}
