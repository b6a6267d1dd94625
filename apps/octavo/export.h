// SPDX-License-Identifier: Apache-2.0
// What `octavo export` and `octavo quantize` share.
#pragma once
#include <string>

#include "octavo/io/fp8_export.h"

namespace octavo {

/// The model in `model`, written to the new directory `out` with its tokenizer, complete or not at all. With
/// `keep_recipe` recipe.toml goes along.
ExportSummary export_directory(const std::string& model, const std::string& out, const Recipe& recipe,
                               const ExportOptions& options, bool keep_recipe, int threads);

/// "one scale a tensor, inputs quantized by the reader as it runs"
std::string describe(const Quantization& quantization);

}  // namespace octavo
