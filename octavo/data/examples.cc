// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/examples.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "octavo/base/error.h"
#include "octavo/data/shard.h"

namespace octavo {
namespace {

// Pieces of text in a row, without a special token between them.
class TextRun {
 public:
  explicit TextRun(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  void restart() {
    text_.clear();
    ids_.clear();
  }

  // The tokens `text` adds to the run.
  std::vector<int32_t> add(const std::string& text) {
    std::vector<int32_t> both;
    tokenizer_.encode_to(text_ + text, false, both);
    if (both.size() >= ids_.size() && std::equal(ids_.begin(), ids_.end(), both.begin())) {
      const std::vector<int32_t> rest(both.begin() + static_cast<int64_t>(ids_.size()), both.end());
      text_ += text;
      ids_ = std::move(both);
      return rest;
    }
    restart();
    text_ = text;
    tokenizer_.encode_to(text, false, ids_);
    return ids_;
  }

 private:
  const Tokenizer& tokenizer_;
  std::string text_;
  std::vector<int32_t> ids_;
};

}  // namespace

void encode_example(const Tokenizer& tokenizer, const Example& example, std::vector<int32_t>& ids,
                    std::vector<uint8_t>& marks) {
  const size_t first = ids.size();
  if (tokenizer.adds_bos() && tokenizer.bos()) ids.push_back(*tokenizer.bos());
  marks.resize(ids.size(), 0);
  TextRun run(tokenizer);
  for (const Piece& piece : example.pieces) {
    std::optional<int32_t> special;
    if (piece.kind == Piece::Kind::marker) special = tokenizer.find(piece.text);
    if (piece.kind == Piece::Kind::end_of_text) {
      special = tokenizer.eos();
      if (!special || (ids.size() > first && ids.back() == *special)) continue;
    }
    if (special) {
      ids.push_back(*special);
      run.restart();
    } else if (!piece.text.empty()) {
      const std::vector<int32_t> added = run.add(piece.text);
      ids.insert(ids.end(), added.begin(), added.end());
    }
    marks.resize(ids.size(), piece.counts ? kCounts : uint8_t{0});
  }
  // Nothing precedes the first token, so it cannot be predicted.
  if (ids.size() > first) marks[first] = kBegins;
  if (std::none_of(marks.begin() + static_cast<int64_t>(first), marks.end(),
                   [](uint8_t mark) { return mark & kCounts; }))
    fail_data(fmt::format("'{}': the answer has no tokens", example.place));
}

}  // namespace octavo
