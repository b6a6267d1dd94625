// SPDX-License-Identifier: Apache-2.0
// Files of token ids. Three formats:
//   octavo   "*.octok": 64-byte header, then 2- or 4-byte ids. Header, little-endian: 8 bytes "OCTOKEN\n";
//   u32 version, 1 or 2;
//            u32 bytes per token; u64 vocabulary size; u64 token count; u64 tokenizer fingerprint; u64 bytes
//            of text the tokens stand for; u64 XXH3-64 of what follows; u64 XXH3-64 of the 56 bytes before
//            it. Version 2 has marks behind the ids: (tokens + 7) / 8 bytes whose bits, the lowest first, say
//            which tokens count as targets; then as many that say which tokens begin an example.
//   llm.c    "*.bin": 256 int32 header {20240520, version 1} for uint16 ids or {20240801, version 7} for
//   uint32 ids, then
//            the token count; the rest of the header is zero.
//   nanoGPT  "*.bin": nothing but uint16 ids.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace octavo {

enum class ShardFormat { octavo, llmc, nanogpt };

const char* to_string(ShardFormat format);
/// Throws usage on an unknown word.
ShardFormat shard_format(const std::string& name);
/// ".octok" or ".bin".
const char* shard_extension(ShardFormat format);

/// Of a token of examples: bits of a mark.
inline constexpr uint8_t kCounts = 1;  ///< predicting it counts in the loss
inline constexpr uint8_t kBegins = 2;  ///< it is the first of an example

/// What a shard file says about itself.
struct ShardHeader {
  ShardFormat format = ShardFormat::octavo;
  int bytes_per_token = 2;
  int64_t vocab_size = 0;  ///< 0: the format does not say
  int64_t tokens = 0;
  uint64_t tokenizer = 0;  ///< Tokenizer::fingerprint(), 0: unknown
  int64_t text_bytes = 0;  ///< 0: unknown
  uint64_t checksum = 0;   ///< of the ids and marks; octavo only
  size_t offset = 0;       ///< where the ids begin
  bool marked = false;     ///< marks follow the ids
};

/// Reads and checks the header of a mapped shard against its size. Throws bad_data naming `path`, what was
/// expected and what was found (a truncated file, a bad checksum of the header, ...). A *.bin file without
/// llm.c's magic is nanoGPT's.
ShardHeader read_shard_header(std::span<const std::byte> file, const std::string& path);

/// Bytes per token this format uses for a vocabulary. Throws unsupported where ids do not fit (nanogpt beyond
/// 65536).
int shard_token_bytes(ShardFormat format, int64_t vocab_size);

/// Writes a shard, complete or not at all. header.tokens, .checksum, .offset and .bytes_per_token are filled
/// in here. With header.marked, marks[tokens] go with the ids; throws unsupported where the format has no
/// place for them.
void write_shard(const std::string& path, ShardHeader header, std::span<const int32_t> tokens,
                 std::span<const uint8_t> marks = {});

}  // namespace octavo
