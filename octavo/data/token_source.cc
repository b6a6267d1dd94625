// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/token_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "octavo/base/checksum.h"
#include "octavo/base/error.h"

namespace octavo {
namespace {

constexpr size_t kScanLimit = size_t{1} << 30;

// Copies ids of one width; the position of the first id not below `limit`, or -1.
template <class T>
int64_t copy_tokens(const std::byte* from, int64_t count, int64_t limit, int32_t* out) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    T id;
    std::memcpy(&id, from + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
    largest = std::max<uint32_t>(largest, id);
    out[i] = static_cast<int32_t>(id);
  }
  if (largest < limit) return -1;
  for (int64_t i = 0;; ++i)
    if (static_cast<uint32_t>(out[i]) >= limit) return i;
}

}  // namespace

TokenSource::TokenSource(const std::vector<std::string>& paths) {
  if (paths.empty()) fail_data("no token shards were given");
  bool all_text = true;
  for (const std::string& path : paths) {
    Shard shard{MappedFile(path), {}, size_};
    shard.header = read_shard_header(shard.file.bytes(), path);
    const ShardHeader& h = shard.header;
    if (h.tokenizer != 0 && tokenizer_ != 0 && h.tokenizer != tokenizer_)
      fail_data(fmt::format("'{}' was made with another tokenizer than '{}'", path, paths.front()));
    if (h.tokenizer != 0) tokenizer_ = h.tokenizer;
    if (!shards_.empty() && h.marked != marked())
      fail_data(fmt::format("'{}' and '{}' cannot be mixed: only one of them marks what counts", path,
                            paths.front()));
    vocab_size_ = std::max(vocab_size_, h.vocab_size);
    all_text &= h.text_bytes > 0;
    text_bytes_ += h.text_bytes;
    size_ += h.tokens;
    shards_.push_back(std::move(shard));
  }
  if (!all_text) text_bytes_ = 0;
}

void TokenSource::fail_vocabulary(const Shard& shard, int64_t position, uint32_t id) const {
  fail_data(fmt::format(
      "'{}': token {} at position {} is outside the vocabulary of {}; the vocabulary does not match the "
      "model",
      shard.file.path(), id, position, limit_));
}

void TokenSource::require_vocabulary(int64_t vocab_size) {
  limit_ = std::min(vocab_size, int64_t{1} << 31);
  for (Shard& shard : shards_) {
    shard.scanned = false;
    const auto payload = shard.file.bytes().subspan(shard.header.offset);
    if (payload.size() >= kScanLimit) continue;
    if (shard.header.format == ShardFormat::octavo &&
        checksum64(payload.data(), payload.size()) != shard.header.checksum)
      fail_data(fmt::format("'{}' is damaged: the checksum of its tokens does not match", shard.file.path()));
    std::vector<int32_t> block(1 << 16);
    for (int64_t at = 0; at < shard.header.tokens;) {
      const int64_t count = std::min<int64_t>(static_cast<int64_t>(block.size()), shard.header.tokens - at);
      tokens(shard.first + at, count, block.data());
      at += count;
    }
    shard.scanned = true;
  }
}

template <class Visit>
void TokenSource::each_part(int64_t begin, int64_t count, const Visit& visit) const {
  if (begin < 0 || count < 0 || begin > size_ || count > size_ - begin)
    throw std::out_of_range("tokens outside the source");
  auto shard = std::upper_bound(shards_.begin(), shards_.end(), begin,
                                [](int64_t position, const Shard& s) { return position < s.first; });
  if (shard != shards_.begin()) --shard;
  for (; count > 0; ++shard) {
    const int64_t local = begin - shard->first;
    const int64_t take = std::min(count, shard->header.tokens - local);
    visit(*shard, local, take);
    begin += take;
    count -= take;
  }
}

void TokenSource::tokens(int64_t begin, int64_t count, int32_t* out) const {
  each_part(begin, count, [&](const Shard& shard, int64_t local, int64_t take) {
    const int64_t width = shard.header.bytes_per_token;
    const std::byte* from = shard.file.bytes().data() + shard.header.offset + local * width;
    // Scanned shards cannot fail: the limit is out of reach.
    const int64_t limit = shard.scanned ? int64_t{1} << 32 : limit_;
    const int64_t bad = width == 2 ? copy_tokens<uint16_t>(from, take, limit, out)
                                   : copy_tokens<uint32_t>(from, take, limit, out);
    if (bad >= 0) fail_vocabulary(shard, local + bad, static_cast<uint32_t>(out[bad]));
    out += take;
  });
}

void TokenSource::marks(int64_t begin, int64_t count, uint8_t* out) const {
  each_part(begin, count, [&](const Shard& shard, int64_t local, int64_t take) {
    const ShardHeader& h = shard.header;
    const std::byte* counts = shard.file.bytes().data() + h.offset + h.tokens * h.bytes_per_token;
    const std::byte* begins = counts + (h.tokens + 7) / 8;
    const auto bit = [](const std::byte* bits, int64_t i) {
      return std::to_integer<int>(bits[i / 8]) >> i % 8 & 1;
    };
    for (int64_t i = local; i < local + take; ++i)
      *out++ = static_cast<uint8_t>(bit(counts, i) * kCounts | bit(begins, i) * kBegins);
  });
}

}  // namespace octavo
