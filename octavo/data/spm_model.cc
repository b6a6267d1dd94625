// SPDX-License-Identifier: Apache-2.0
// SentencePiece stores a protobuf message, ModelProto; only the fields that decide about ids are read.
#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/data/spm_tokenizer.h"
#include "octavo/data/tokenizer_readers.h"
#include "octavo/data/utf8.h"

namespace octavo {
namespace {

// Walks the fields of one protobuf message (wire types varint, 64-bit, length-delimited, 32-bit).
class Message {
 public:
  Message(std::string_view data, const std::string& name) : data_(data), name_(name) {}

  bool next() {
    if (at_ == data_.size()) return false;
    const uint64_t tag = varint();
    field = tag >> 3;
    number = 0;
    bytes = {};
    switch (tag & 7) {
      case 0:
        number = varint();
        break;
      case 1:
        bytes = take(8);
        break;
      case 2:
        bytes = take(varint());
        break;
      case 5:
        bytes = take(4);
        break;
      default:
        damaged();
    }
    return true;
  }

  float as_float() const {
    if (bytes.size() != 4) damaged();
    float value;
    std::memcpy(&value, bytes.data(), 4);
    return value;
  }

  uint64_t field = 0;
  uint64_t number = 0;
  std::string_view bytes;

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at_ == data_.size()) damaged();
      const auto byte = static_cast<uint8_t>(data_[at_++]);
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    damaged();
  }

  std::string_view take(uint64_t count) {
    if (count > data_.size() - at_) damaged();
    const std::string_view result = data_.substr(at_, count);
    at_ += count;
    return result;
  }

  [[noreturn]] void damaged() const {
    fail_data(fmt::format(
        "'{}' is no SentencePiece model or is damaged: its message breaks off or has an invalid field",
        name_));
  }

  std::string_view data_;
  const std::string& name_;
  size_t at_ = 0;
};

Piece read_piece(std::string_view data, const std::string& name, size_t index) {
  Piece piece;
  Message message(data, name);
  while (message.next()) {
    if (message.field == 1) piece.text = message.bytes;
    if (message.field == 2) piece.score = message.as_float();
    if (message.field == 3) {
      if (message.number < 1 || message.number > 6)
        fail_data(fmt::format("'{}': piece {} has the unknown type {}", name, index, message.number));
      piece.type = static_cast<PieceType>(message.number);
    }
  }
  if (piece.text.empty() || utf8_valid_prefix(piece.text) != piece.text.size() || std::isnan(piece.score))
    fail_data(fmt::format("'{}': piece {} needs a text in UTF-8 and a score", name, index));
  return piece;
}

void read_trainer(std::string_view data, SpmParts& parts) {
  uint64_t model_type = 1;  // unigram is the default of the format
  bool suffix = false;
  Message message(data, parts.name);
  while (message.next()) {
    const auto id = static_cast<int32_t>(message.number);
    if (message.field == 3) model_type = message.number;
    if (message.field == 24) suffix = message.number != 0;
    if (message.field == 35) parts.byte_fallback = message.number != 0;
    if (message.field == 40) parts.unknown = id;
    if (message.field == 41) parts.bos = id;
    if (message.field == 42) parts.eos = id;
  }
  const char* names[] = {"?", "Unigram", "BPE", "word", "char"};
  if (model_type != 2)
    fail_unsupported(fmt::format("'{}' is a SentencePiece model of type {}; only BPE is supported",
                                 parts.name, model_type < 5 ? names[model_type] : "?"));
  if (suffix) fail_unsupported(fmt::format("'{}': treat_whitespace_as_suffix is not supported", parts.name));
}

void read_normalizer(std::string_view data, SpmParts& parts) {
  std::string rule;
  bool has_map = false;
  Message message(data, parts.name);
  while (message.next()) {
    if (message.field == 1) rule = message.bytes;
    if (message.field == 2) has_map = !message.bytes.empty();
    if (message.field == 3) parts.add_dummy_prefix = message.number != 0;
    if (message.field == 4) parts.remove_extra_spaces = message.number != 0;
    if (message.field == 5) parts.escape_spaces = message.number != 0;
  }
  if (has_map)
    fail_unsupported(
        fmt::format("'{}': the normalization rule '{}' is not supported, only identity", parts.name, rule));
}

}  // namespace

std::unique_ptr<Tokenizer> read_sentencepiece_model(const std::string& path) {
  const std::string content = read_file(path);
  SpmParts parts;
  parts.name = path;
  parts.remove_extra_spaces = true;  // defaults of the format
  parts.bos = 1;
  parts.eos = 2;
  bool trainer = false;
  Message message(content, parts.name);
  while (message.next()) {
    if (message.field == 1) parts.pieces.push_back(read_piece(message.bytes, path, parts.pieces.size()));
    if (message.field == 2) read_trainer(message.bytes, parts), trainer = true;
    if (message.field == 3) read_normalizer(message.bytes, parts);
  }
  if (parts.pieces.empty() || !trainer)
    fail_data(fmt::format("'{}' is no SentencePiece model: it has no {}", path,
                          trainer ? "pieces" : "trainer_spec"));
  for (int32_t* id : {&parts.bos, &parts.eos})
    if (*id >= 0 && static_cast<size_t>(*id) < parts.pieces.size() &&
        parts.pieces[*id].type != PieceType::control)
      *id = -1;
  return std::make_unique<SpmTokenizer>(std::move(parts));
}

}  // namespace octavo
