// SPDX-License-Identifier: Apache-2.0
// GGUF files that lie: each must give one sentence that names the file and what is wrong, and nothing worse.
#include "io/gguf_builder.h"
#include "io/io_test_util.h"
#include "octavo/io/gguf_model.h"

namespace octavo {
namespace {

struct Hostile {
  const char* name;
  std::string content;
  std::string expected;  // part of the message
  ExitCode code = ExitCode::bad_data;
};

void PrintTo(const Hostile& hostile, std::ostream* out) { *out << hostile.name; }

constexpr uint64_t kHuge = 1ull << 63;

std::string header(uint64_t tensors, uint64_t keys, uint32_t version = 3) {
  return "GGUF" + raw(version) + raw(tensors) + raw(keys);
}

/// One F32 tensor "t" with these dimensions, offset and data.
std::string one(std::vector<uint64_t> dims, uint64_t offset, const std::string& data, uint32_t type = 0) {
  std::string out = header(1, 0) + gguf_text("t") + raw(static_cast<uint32_t>(dims.size()));
  for (const uint64_t d : dims) out += raw(d);
  out += raw(type) + raw(offset);
  out.resize((out.size() + 31) / 32 * 32);
  return out + data;
}

std::string key(const std::string& name, const std::string& value) {
  return header(0, 1) + gguf_text(name) + value;
}

std::string array(uint32_t type, uint64_t count, const std::string& data = "") {
  return raw<uint32_t>(9) + raw(type) + raw(count) + data;
}

std::string two(const std::string& second, uint64_t offset) {
  std::string out = header(2, 0);
  out += gguf_text("t") + raw<uint32_t>(1) + raw<uint64_t>(4) + raw<uint32_t>(0) + raw<uint64_t>(0);
  out += gguf_text(second) + raw<uint32_t>(1) + raw<uint64_t>(4) + raw<uint32_t>(0) + raw(offset);
  out.resize((out.size() + 31) / 32 * 32);
  return out + std::string(48, 'x');
}

std::vector<Hostile> hostile_files() {
  const std::string sixteen(16, 'x');
  return {
      {"empty", "", "the header needs 4 bytes"},
      {"other_magic", "GGML" + std::string(64, '\0'), "does not begin with GGUF"},
      {"version_0", header(0, 0, 0), "version 0", ExitCode::unsupported},
      {"version_1", header(0, 0, 1), "version 1", ExitCode::unsupported},
      {"version_4", header(0, 0, 4), "version 4", ExitCode::unsupported},
      {"big_endian", header(0, 0, 0x03000000), "big-endian", ExitCode::unsupported},
      {"keys_2_to_63", header(0, kHuge), "promises 9223372036854775808 metadata keys"},
      {"keys_all_ones", header(0, ~0ull), "metadata keys"},
      {"tensors_2_to_63", header(kHuge, 0), "promises 9223372036854775808 tensors"},
      {"tensors_all_ones", header(~0ull, 0) + sixteen, "tensors"},
      {"key_length_all_ones", header(0, 1) + raw(~0ull) + sixteen,
       "metadata key 0 needs 18446744073709551615 bytes"},
      {"key_length_2_to_63", header(0, 1) + raw(kHuge) + sixteen,
       "metadata key 0 needs 9223372036854775808 bytes"},
      {"empty_key", key("", gguf_u32(1)), "metadata key 0 has 0 bytes"},
      {"long_key", key(std::string(70000, 'k'), gguf_u32(1)), "has 70000 bytes"},
      {"same_key_twice", header(0, 2) + gguf_text("k") + gguf_u32(1) + gguf_text("k") + gguf_u32(1),
       "'k' is there twice"},
      {"unknown_type", key("k", raw<uint32_t>(13) + sixteen), "'k' has a value of the unknown type 13"},
      {"type_all_ones", key("k", raw(~0u) + sixteen), "unknown type 4294967295"},
      {"string_too_long", key("k", raw<uint32_t>(8) + raw<uint64_t>(17) + sixteen), "'k' needs 17 bytes"},
      {"array_count_all_ones", key("k", array(4, ~0ull, sixteen)), "promises 18446744073709551615 values"},
      {"array_bytes_wrap", key("k", array(10, 1ull << 61, sixteen)), "promises 2305843009213693952 values"},
      {"strings_count", key("k", array(8, 1ull << 40, sixteen)), "promises 1099511627776 strings"},
      {"strings_cut", key("k", array(8, 2, gguf_text("abc") + raw<uint64_t>(9))), "'k' needs 9 bytes"},
      {"array_of_unknown", key("k", array(77, 1, sixteen)), "unknown type 77"},
      {"array_of_arrays", key("k", array(9, 1, sixteen)), "array of arrays", ExitCode::unsupported},
      {"alignment_0", header(0, 1) + gguf_text("general.alignment") + gguf_u32(0), "general.alignment is 0"},
      {"alignment_odd", header(0, 1) + gguf_text("general.alignment") + gguf_u32(33),
       "general.alignment is 33"},
      {"alignment_huge", header(0, 1) + gguf_text("general.alignment") + gguf_u32(1u << 31),
       "general.alignment is"},
      {"alignment_string", header(0, 1) + gguf_text("general.alignment") + gguf_string("32"),
       "of type string"},
      {"no_dimension", one({}, 0, sixteen), "tensor 't' has 0 dimensions"},
      {"five_dimensions", one({1, 1, 1, 1, 1}, 0, sixteen), "tensor 't' has 5 dimensions"},
      {"empty_dimension", one({4, 0}, 0, sixteen), "tensor 't' has the shape [0, 4], which is empty"},
      {"product_overflows", one({kHuge, 2}, 0, sixteen), "tensor 't' has the shape [2, 9223372036854775808]"},
      {"product_wraps_to_4", one({(1ull << 62) + 1, 4}, 0, sixteen), "overflows"},
      {"bytes_overflow", one({1ull << 62}, 0, sixteen), "overflows"},
      {"bytes_beyond_file", one({1ull << 50}, 0, sixteen), "tensor 't' needs 4503599627370496 bytes"},
      {"one_element_too_many", one({5}, 0, sixteen),
       "tensor 't' needs 20 bytes from byte 0 of the data on, which has only 16"},
      {"offset_beyond_file", one({4}, 1ull << 40, sixteen),
       "begins at byte 1099511627776 of the data, expected 0"},
      {"offset_all_ones", one({4}, ~0ull, sixteen), "(there is a hole)"},
      {"offset_unaligned", one({4}, 8, sixteen + sixteen), "begins at byte 8 of the data, expected 0"},
      {"half_a_block", one({40}, 0, std::string(68, 'x'), 8),
       "rows of 40 elements, Q8_0 stores multiples of 32"},
      {"unknown_encoding", one({4}, 0, sixteen, 4), "'t' is stored as type 4", ExitCode::unsupported},
      {"overlap", two("u", 0), "tensor 'u' begins at byte 0 of the data, expected 32 (tensors overlap)"},
      {"hole", two("u", 64), "tensor 'u' begins at byte 64 of the data, expected 32 (there is a hole)"},
      {"same_name_twice", two("t", 32), "tensor 't' is there twice"},
      {"trailing_bytes", one({4}, 0, std::string(16 + 32, 'x')), "the file goes on for 32 bytes"},
  };
}

class GgufHostile : public testing::TestWithParam<Hostile> {};

TEST_P(GgufHostile, IsRefusedWithASentence) {
  const TempDir dir;
  const std::string path = put_file(dir / "hostile.gguf", GetParam().content);
  const std::string message = error_of([&] { GgufFile file(path); }, GetParam().code);
  expect_contains(message, path);
  expect_contains(message, GetParam().expected);
  EXPECT_EQ(message.find('\n'), std::string::npos);
  EXPECT_LT(message.size(), path.size() + 400);
}

INSTANTIATE_TEST_SUITE_P(Table, GgufHostile, testing::ValuesIn(hostile_files()),
                         [](const auto& test) { return std::string(test.param.name); });

/// A model with a block encoding and every kind of metadata.
GgufBuilder sweep_model() {
  GgufBuilder b = small_llama();
  b.set("tokenizer.ggml.model", gguf_string("gpt2"));
  b.set("tokenizer.ggml.tokens", gguf_strings({"a", "b", "ab"}));
  b.set("tokenizer.ggml.token_type", gguf_ints({1, 1, 1}));
  b.set("tokenizer.ggml.add_bos_token", gguf_bool(false));
  return b;
}

TEST(GgufHostileSweep, EveryTruncationIsRefused) {
  const TempDir dir;
  const std::string whole = sweep_model().bytes(), path = dir / "cut.gguf";
  EXPECT_EQ(GgufModel(put_file(path, whole)).parameters().size(), 11u);
  for (size_t length = 0; length < whole.size(); ++length) {
    put_file(path, std::string_view(whole).substr(0, length));
    EXPECT_THROW(GgufModel model(path), Error) << "length " << length;
  }
}

TEST(GgufHostileSweep, EveryBitFlipIsRefusedOrHarmless) {
  const TempDir dir;
  const GgufBuilder builder = sweep_model();
  const std::string whole = builder.bytes(), path = dir / "flip.gguf";
  const size_t head = builder.head().size();
  int refused = 0, opened = 0;
  for (size_t at = 0; at < head; ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = whole;
      flipped[at] = static_cast<char>(flipped[at] ^ 1 << bit);
      put_file(path, flipped);
      try {
        // What still opens (a changed token, say) must be wholly readable.
        const GgufModel model(path);
        std::vector<std::byte> bytes;
        for (const GgufParameter& p : model.parameters()) {
          model.read(p, bytes);
          EXPECT_EQ(bytes.size(), p.source->data.size());
        }
        model.file().find_strings("tokenizer.ggml.tokens");
        model.file().find_ints("tokenizer.ggml.token_type");
        ++opened;
      } catch (const Error& error) {
        expect_contains(error.what(), path);
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 5000);
  EXPECT_GT(opened, 100);
}

}  // namespace
}  // namespace octavo
