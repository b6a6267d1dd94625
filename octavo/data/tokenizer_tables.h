// SPDX-License-Identifier: Apache-2.0
// A tokenizer that is not a file of its own but tables inside a model file (GGUF's tokenizer.ggml.*), written
// as files that load_tokenizer() and others read.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace octavo {

/// Views belong to the model file.
struct TokenizerTables {
  std::string source;  ///< the file, for errors
  std::string model;   ///< "gpt2" (byte-level BPE) or "llama" (SentencePiece BPE)
  std::string pre;     ///< gpt2: llama.cpp's name of how text is cut into words
  std::vector<std::string_view> tokens;
  std::vector<int64_t> types;            ///< numbered as PieceType (spm_tokenizer.h); empty: all normal
  std::vector<float> scores;             ///< llama only
  std::vector<std::string_view> merges;  ///< gpt2 only: "left right"
  std::optional<int64_t> bos, eos, unknown, padding;
  bool add_bos = false;          ///< texts begin with bos
  bool add_space_prefix = true;  ///< llama only
  std::string chat_template;     ///< kept for programs that use it
};

/// Names that `pre` can have.
std::string known_pretokenizers();

/// Writes tokenizer.json (gpt2) or tokenizer.model (llama), and tokenizer_config.json, into `directory`,
/// which exists. Throws unsupported for another model or an unknown `pre`, bad_data for tables that
/// contradict each other.
void save_tokenizer_tables(const TokenizerTables& tables, const std::string& directory);

}  // namespace octavo
