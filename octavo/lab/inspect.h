// SPDX-License-Identifier: Apache-2.0
// What a path holds: a model, checkpoint, tensor file, token shard, data set or run, told by looking at it.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "octavo/io/safetensors.h"

namespace octavo {

/// How an FP8 tensor uses its format. Shares are of all elements, 0..1.
struct Occupancy {
  double zeros = 0, subnormals = 0;
  double saturated = 0;                  ///< codes of the largest finite magnitude
  int first_exponent = 0;                ///< of the format's smallest normal numbers, log2
  std::vector<uint64_t> exponents;       ///< normal codes by exponent, from there to the largest
  std::string scale_tensor;              ///< name of the tensor with its scale; "" without one
  double scale_low = 1, scale_high = 1;  ///< equal for one scale a tensor; value = code * scale
};

struct TensorFacts {
  std::string name, file, dtype;
  std::vector<uint64_t> shape;
  uint64_t elements = 0, bytes = 0;
  uint64_t not_finite = 0;
  bool has_values =
      false;  ///< whether the figures below are there: not for types below 8 bits, complex or empty
  /// Of the finite values, scaled where there is a scale. amax = max |x|; std is that of all values, not of a
  /// sample.
  double min = 0, max = 0, amax = 0, mean = 0, std = 0;
  std::optional<Occupancy> occupancy;  ///< FP8 with a sign only
};

/// One line about the whole.
struct Fact {
  std::string key;
  std::variant<std::string, int64_t, double, bool> value;
};

struct Inspection {
  std::string path, kind;  ///< kind: "checkpoint", "model", "safetensors", "GGUF file", "llama2.c model",
                           ///< "token shard", "data set", "run"
  std::vector<Fact> facts;
  std::vector<TensorFacts> tensors;  ///< in the order of the files
};

/// Looks at `path`. Throws bad_data naming the file and, where there is one, the tensor, for what is damaged
/// or is none of the above; unsupported for GGUF files in encodings that are not read.
Inspection inspect(const std::string& path);

/// Figures of a tensor in one pass over its elements. `scale`: the tensor that holds its scale, or nullptr.
TensorFacts tensor_facts(const TensorInfo& tensor, const TensorInfo* scale);
/// Of FP32 values at hand.
TensorFacts tensor_facts(const std::string& name, const std::string& file, const std::vector<uint64_t>& shape,
                         const std::vector<float>& values);

/// Tables for people, UTF-8, ending with a line end.
std::string to_text(const Inspection& inspection);
/// One JSON object on one line, schema "octavo-inspect-1" (docs/cli.md).
std::string to_json(const Inspection& inspection);

/// A bar a count, as high as its share of the largest: "▁▃█▂"; a blank for none.
std::string sparkline(const std::vector<uint64_t>& counts);

}  // namespace octavo
