// SPDX-License-Identifier: Apache-2.0
// A small model opened for inference, and a tokenizer that joins what it should not.
#pragma once
#include <functional>
#include <limits>

#include "error_of.h"
#include "nn/nn_testing.h"
#include "octavo/base/error.h"
#include "octavo/data/tokenizer.h"
#include "octavo/kernels/loss.h"

namespace octavo {

struct InferenceModel {
  ThreadPool pool;
  Transformer model;
  InferenceModel(const ModelConfig& config, const std::string& recipe, const Limits& limits, int threads = 2,
                 double gain = 1.0)
      : pool(threads), model(config, load_recipe(recipe), Purpose::inference, pool) {
    model.allocate(limits);
    TestModel source(config, "fp32", {1, 1, 0});
    randomize(source.model, 1, gain);
    for (Parameter& p : source.model.parameters().all())
      model.set_parameter(*model.parameters().find(p.name), p.value);
  }
};

constexpr int32_t kBos = 256, kJoined = 257;

/// One token a byte, but one for ", ".
class ToyTokenizer : public Tokenizer {
 public:
  explicit ToyTokenizer(bool has_bos = true, bool adds_bos = true) : Tokenizer(make(has_bos, adds_bos)) {}
  void encode_to(std::string_view text, bool, std::vector<int32_t>& out) const override {
    for (size_t i = 0; i < text.size(); ++i) {
      const bool joined = text.substr(i, 2) == ", ";
      out.push_back(joined ? kJoined : static_cast<unsigned char>(text[i]));
      i += joined;
    }
  }

 private:
  static Vocabulary make(bool has_bos, bool adds_bos) {
    Vocabulary v;
    v.text.resize(258);
    v.bytes.resize(258);
    v.special.resize(258);
    if (has_bos) v.bos = kBos;
    v.adds_bos = adds_bos;
    return v;
  }
};

}  // namespace octavo
