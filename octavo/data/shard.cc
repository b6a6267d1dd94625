// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/shard.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <filesystem>

#include "octavo/base/checksum.h"
#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/base/load_as.h"
#include "octavo/base/suggest.h"

namespace octavo {
namespace {

static_assert(std::endian::native == std::endian::little, "shards are little-endian and mapped as they are");

constexpr char kMagic[8] = {'O', 'C', 'T', 'O', 'K', 'E', 'N', '\n'};
constexpr size_t kOctavoHeader = 64, kLlmcHeader = 1024;
constexpr int32_t kLlmc16 = 20240520, kLlmc32 = 20240801;

template <class T>
T load(std::span<const std::byte> file, size_t at) {
  return load_as<T>(file.data() + at);
}

// Bytes behind the ids.
size_t mark_bytes(const ShardHeader& header) {
  return header.marked ? 2 * ((static_cast<size_t>(header.tokens) + 7) / 8) : 0;
}

void check_size(const ShardHeader& header, size_t found, const std::string& path) {
  // Compared by division: a hostile count must not overflow.
  const size_t payload = found - header.offset;
  const auto per_token = static_cast<size_t>(header.bytes_per_token);
  if (payload / per_token >= static_cast<size_t>(header.tokens) &&
      payload - per_token * static_cast<size_t>(header.tokens) == mark_bytes(header))
    return;
  fail_data(fmt::format(
      "'{}' is truncated or damaged: its header announces {} tokens of {} bytes (a file of {} bytes), "
      "found {} bytes",
      path, header.tokens, per_token,
      static_cast<double>(header.tokens) > 1e15
          ? "more than 10^15"
          : std::to_string(header.offset + per_token * static_cast<size_t>(header.tokens) +
                           mark_bytes(header)),
      found));
}

ShardHeader read_octavo(std::span<const std::byte> file, const std::string& path) {
  if (file.size() < kOctavoHeader)
    fail_data(fmt::format("'{}' is truncated: expected a header of {} bytes, found {} bytes", path,
                          kOctavoHeader, file.size()));
  if (std::memcmp(file.data(), kMagic, sizeof kMagic) != 0)
    fail_data(fmt::format("'{}' is no octavo token shard: expected it to begin with OCTOKEN", path));
  const auto version = load<uint32_t>(file, 8);
  if (version != 1 && version != 2)
    fail_unsupported(
        fmt::format("'{}' has shard version {}; this build reads versions 1 and 2", path, version));
  if (load<uint64_t>(file, 56) != checksum64(file.data(), 56))
    fail_data(fmt::format("'{}' is damaged: the checksum of its header does not match", path));
  ShardHeader h;
  const auto per_token = load<uint32_t>(file, 12);
  const auto vocab = load<uint64_t>(file, 16), tokens = load<uint64_t>(file, 24);
  if ((per_token != 2 && per_token != 4) || vocab > INT32_MAX || tokens > INT64_MAX)
    fail_data(fmt::format("'{}' has an invalid header: {} bytes per token, {} tokens, vocabulary {}", path,
                          per_token, tokens, vocab));
  h.bytes_per_token = static_cast<int>(per_token);
  h.vocab_size = static_cast<int64_t>(vocab);
  h.tokens = static_cast<int64_t>(tokens);
  h.tokenizer = load<uint64_t>(file, 32);
  h.text_bytes = load<int64_t>(file, 40);
  h.checksum = load<uint64_t>(file, 48);
  h.marked = version == 2;
  h.offset = kOctavoHeader;
  return h;
}

ShardHeader read_llmc(std::span<const std::byte> file, const std::string& path) {
  const auto magic = load<int32_t>(file, 0);
  const int wanted = magic == kLlmc16 ? 1 : 7;
  if (file.size() < kLlmcHeader)
    fail_data(fmt::format("'{}' is truncated: expected an llm.c header of {} bytes, found {} bytes", path,
                          kLlmcHeader, file.size()));
  const auto version = load<int32_t>(file, 4), tokens = load<int32_t>(file, 8);
  if (version != wanted)
    fail_unsupported(fmt::format("'{}' has llm.c shard version {}; expected {} for magic {}", path, version,
                                 wanted, magic));
  if (tokens < 0) fail_data(fmt::format("'{}' announces {} tokens; expected 0 or more", path, tokens));
  ShardHeader h;
  h.format = ShardFormat::llmc;
  h.bytes_per_token = magic == kLlmc16 ? 2 : 4;
  h.tokens = tokens;
  h.offset = kLlmcHeader;
  return h;
}

}  // namespace

const char* to_string(ShardFormat format) {
  switch (format) {
    case ShardFormat::octavo:
      return "octavo";
    case ShardFormat::llmc:
      return "llmc";
    case ShardFormat::nanogpt:
      return "nanogpt";
  }
  return "?";
}

ShardFormat shard_format(const std::string& name) {
  for (const ShardFormat format : {ShardFormat::octavo, ShardFormat::llmc, ShardFormat::nanogpt})
    if (name == to_string(format)) return format;
  fail_usage(
      fmt::format("unknown shard format '{}'{}", name, did_you_mean(name, {"octavo", "llmc", "nanogpt"})));
}

const char* shard_extension(ShardFormat format) { return format == ShardFormat::octavo ? ".octok" : ".bin"; }

ShardHeader read_shard_header(std::span<const std::byte> file, const std::string& path) {
  ShardHeader header;
  const bool magic = file.size() >= sizeof kMagic && std::memcmp(file.data(), kMagic, sizeof kMagic) == 0;
  if (magic || std::filesystem::path(path).extension() == ".octok") {
    header = read_octavo(file, path);
  } else if (file.size() >= 4 && (load<int32_t>(file, 0) == kLlmc16 || load<int32_t>(file, 0) == kLlmc32)) {
    header = read_llmc(file, path);
  } else if (std::filesystem::path(path).extension() == ".bin") {
    if (file.size() % 2 != 0)
      fail_data(fmt::format("'{}' is no token shard: uint16 tokens need an even number of bytes, found {}",
                            path, file.size()));
    header.format = ShardFormat::nanogpt;
    header.tokens = static_cast<int64_t>(file.size() / 2);
  } else {
    fail_data(fmt::format("'{}' is no token shard: expected *.octok, or *.bin of llm.c or nanoGPT", path));
  }
  check_size(header, file.size(), path);
  if (header.tokens == 0) fail_data(fmt::format("'{}' holds no tokens", path));
  return header;
}

int shard_token_bytes(ShardFormat format, int64_t vocab_size) {
  if (vocab_size <= 65536) return 2;
  if (format == ShardFormat::nanogpt)
    fail_unsupported(fmt::format(
        "nanogpt shards hold ids up to 65535, the vocabulary has {} tokens; use octavo or llmc", vocab_size));
  return 4;
}

void write_shard(const std::string& path, ShardHeader header, std::span<const int32_t> tokens,
                 std::span<const uint8_t> marks) {
  if (header.marked && header.format != ShardFormat::octavo)
    fail_unsupported(fmt::format("cannot write '{}': {} shards have no place for marks; use octavo", path,
                                 to_string(header.format)));
  header.bytes_per_token = shard_token_bytes(header.format, header.vocab_size);
  header.tokens = static_cast<int64_t>(tokens.size());
  const auto per_token = static_cast<size_t>(header.bytes_per_token);
  header.offset = header.format == ShardFormat::octavo ? kOctavoHeader
                  : header.format == ShardFormat::llmc ? kLlmcHeader
                                                       : 0;
  std::string file(header.offset + tokens.size() * per_token + mark_bytes(header), '\0');
  char* payload = file.data() + header.offset;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= header.vocab_size)
      fail_data(fmt::format("cannot write '{}': token {} at position {} is outside the vocabulary of {}",
                            path, tokens[i], i, header.vocab_size));
    std::memcpy(payload + i * per_token, &tokens[i], per_token);
  }
  if (header.marked) {
    char* counts = payload + tokens.size() * per_token;
    char* begins = counts + mark_bytes(header) / 2;
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (marks[i] & kCounts) counts[i / 8] = static_cast<char>(counts[i / 8] | 1 << i % 8);
      if (marks[i] & kBegins) begins[i / 8] = static_cast<char>(begins[i / 8] | 1 << i % 8);
    }
  }
  const auto store = [&](size_t at, auto value) { std::memcpy(file.data() + at, &value, sizeof value); };
  if (header.format == ShardFormat::octavo) {
    std::memcpy(file.data(), kMagic, sizeof kMagic);
    store(8, header.marked ? uint32_t{2} : uint32_t{1});
    store(12, static_cast<uint32_t>(per_token));
    store(16, static_cast<uint64_t>(header.vocab_size));
    store(24, static_cast<uint64_t>(header.tokens));
    store(32, header.tokenizer);
    store(40, header.text_bytes);
    store(48, checksum64(payload, file.size() - header.offset));
    store(56, checksum64(file.data(), 56));
  } else if (header.format == ShardFormat::llmc) {
    if (header.tokens > INT32_MAX)
      fail_unsupported(fmt::format("cannot write '{}': llm.c shards hold fewer than 2^31 tokens", path));
    store(0, per_token == 2 ? kLlmc16 : kLlmc32);
    store(4, int32_t{per_token == 2 ? 1 : 7});
    store(8, static_cast<int32_t>(header.tokens));
  }
  write_file_atomic(path, file);
}

}  // namespace octavo
