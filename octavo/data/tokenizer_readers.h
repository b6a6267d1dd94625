// SPDX-License-Identifier: Apache-2.0
// One reader for each file format; load_tokenizer() chooses.
#pragma once
#include <memory>
#include <string>

#include "octavo/data/tokenizer.h"

namespace octavo {

/// Hugging Face tokenizer.json; takes bos/eos names from tokenizer_config.json beside it where there is one.
std::unique_ptr<Tokenizer> read_tokenizer_json(const std::string& path);

/// GPT-2's vocab.json and merges.txt (with or without a "#version" line) in `directory`.
std::unique_ptr<Tokenizer> read_gpt2_files(const std::string& directory);

/// SentencePiece ModelProto, model type BPE, no normalization map.
std::unique_ptr<Tokenizer> read_sentencepiece_model(const std::string& path);

/// llama2.c: int32 longest token, then (float32 score, int32 length, bytes) for each token; 0 unknown, 1 BOS,
/// 2 EOS, and the byte tokens <0x00>...<0xFF> from id 3 on.
std::unique_ptr<Tokenizer> read_llama2c_tokenizer(const std::string& path);

}  // namespace octavo
