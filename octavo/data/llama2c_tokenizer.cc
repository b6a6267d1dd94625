// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/data/spm_tokenizer.h"
#include "octavo/data/tokenizer_readers.h"

namespace octavo {
namespace {

template <class T>
T take(std::string_view& data, const std::string& path, size_t index) {
  if (data.size() < sizeof(T))
    fail_data(fmt::format("'{}' breaks off in token {}: expected {} more bytes, found {}", path, index,
                          sizeof(T), data.size()));
  T value;
  std::memcpy(&value, data.data(), sizeof(T));
  data.remove_prefix(sizeof(T));
  return value;
}

// The exporter wrote spaces for U+2581.
std::string with_marks(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == ' ') {
      result += "\xE2\x96\x81";
    } else {
      result += c;
    }
  }
  return result;
}

}  // namespace

std::unique_ptr<Tokenizer> read_llama2c_tokenizer(const std::string& path) {
  const std::string content = read_file(path);
  std::string_view data = content;
  SpmParts parts;
  parts.name = path;
  const auto longest = take<int32_t>(data, path, 0);
  if (longest <= 0 || longest > 1 << 16)
    fail_data(
        fmt::format("'{}' is no llama2.c tokenizer: its longest token cannot have {} bytes", path, longest));
  while (!data.empty()) {
    const size_t index = parts.pieces.size();
    Piece piece;
    piece.score = take<float>(data, path, index);
    const auto length = take<int32_t>(data, path, index);
    if (length < 0 || length > longest || static_cast<size_t>(length) > data.size() ||
        std::isnan(piece.score))
      fail_data(fmt::format("'{}': token {} claims {} bytes, expected at most {} of the {} left", path, index,
                            length, longest, data.size()));
    piece.text = index < 3 ? std::string(data.substr(0, length)) : with_marks(data.substr(0, length));
    data.remove_prefix(length);
    if (index == 0) piece.type = PieceType::unknown;
    // BOS and EOS were exported with line ends around them.
    if (index == 1) piece.type = PieceType::control, piece.text = "<s>";
    if (index == 2) piece.type = PieceType::control, piece.text = "</s>";
    if (index >= 3 && index < 259) {
      const std::string expected = fmt::format("<0x{:02X}>", index - 3);
      if (piece.text != expected)
        fail_data(fmt::format("'{}' is no llama2.c tokenizer: token {} must be '{}'", path, index, expected));
      piece.type = PieceType::byte;
    }
    parts.pieces.push_back(std::move(piece));
  }
  if (parts.pieces.size() < 259)
    fail_data(fmt::format("'{}': expected at least 259 tokens (3 control, 256 bytes), found {}", path,
                          parts.pieces.size()));
  parts.byte_fallback = true;
  parts.bos = 1;
  parts.eos = 2;
  return std::make_unique<SpmTokenizer>(std::move(parts));
}

}  // namespace octavo
