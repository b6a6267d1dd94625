// SPDX-License-Identifier: Apache-2.0
// Files that lie: each must give one sentence that names the file and what is wrong, and nothing worse.
#include "io/io_test_util.h"
#include "octavo/io/safetensors.h"

namespace octavo {
namespace {

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   uint64_t begin, uint64_t end) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":[" +
         std::to_string(begin) + "," + std::to_string(end) + "]}";
}

struct Hostile {
  const char* name;
  std::string content;
  std::string expected;  // part of the message
};

void PrintTo(const Hostile& hostile, std::ostream* out) { *out << hostile.name; }

std::string header_length(uint64_t length) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(length >> (8 * i));
  return bytes;
}

std::string one(const std::string& entry, const std::string& data = "") {
  return safetensors_bytes("{" + entry + "}", data);
}

std::vector<Hostile> hostile_files() {
  const std::string four(4, 'x'), eight(8, 'x');
  const std::string good = tensor("t", "F32", "[1]", 0, 4);
  const std::string big = "9223372036854775808";
  std::string many = "[1";
  for (int i = 0; i < 64; ++i) many += ",1";
  many += "]";
  return {
      {"empty", "", "0 bytes are too few"},
      {"seven_bytes", "1234567", "7 bytes are too few"},
      {"length_only", header_length(2), "only 0 are there"},
      {"length_2_to_63", header_length(1ull << 63) + "{}",
       "header length 9223372036854775808 is above the limit"},
      {"length_all_ones", header_length(~0ull) + "{}", "above the limit"},
      {"length_wraps_with_8", header_length(~0ull - 7) + "{}", "above the limit"},
      {"length_above_limit", header_length(100'000'001) + "{}", "above the limit"},
      {"length_beyond_file", header_length(3) + "{}", "should have 3 bytes but only 2"},
      {"zero_header", header_length(0), "does not begin with '{'"},
      {"only_spaces", safetensors_bytes("    "), "does not begin with '{'"},
      {"leading_space", safetensors_bytes(" {}"), "does not begin with '{'"},
      {"byte_order_mark", safetensors_bytes("\xEF\xBB\xBF{}"), "does not begin with '{'"},
      {"not_json", safetensors_bytes("{nonsense}"), "not valid JSON"},
      {"unclosed", safetensors_bytes("{\"t\":{"), "not valid JSON"},
      {"garbage_after", safetensors_bytes("{}x"), "not valid JSON"},
      {"newline_padding_then_more", safetensors_bytes("{}\n{}"), "not valid JSON"},
      {"nul_after", safetensors_bytes(std::string("{}\0junk}", 8)), "NUL"},
      {"nul_padding", safetensors_bytes(std::string("{}\0\0", 4)), "NUL"},
      {"array_header", safetensors_bytes("[]"), "does not begin with '{'"},
      {"not_utf8", one("\"\xFF\xFE\":" + good.substr(4), four), "not valid JSON in UTF-8"},
      {"overlong_utf8", one("\"\xC0\x80\":" + good.substr(4), four), "not valid JSON in UTF-8"},
      {"lone_surrogate", one("\"\\ud800\":" + good.substr(4), four), "not valid JSON in UTF-8"},
      {"deep_arrays", safetensors_bytes("{\"t\":" + std::string(1'000'000, '[')), "'t' is an array"},
      {"deep_in_shape", one("\"t\":{\"shape\":" + std::string(1'000'000, '[')),
       "tensor 't' has an array in its shape"},
      {"deep_objects", safetensors_bytes("{\"t\":{\"dtype\":{\"a\":{"), "tensor 't' has an object as dtype"},
      {"duplicate_tensor", one(good + "," + tensor("t", "F32", "[1]", 4, 8), eight), "names 't' twice"},
      {"duplicate_by_escape", one(good + "," + tensor("\\u0074", "F32", "[1]", 4, 8), eight),
       "names 't' twice"},
      {"duplicate_metadata", safetensors_bytes("{\"__metadata__\":{},\"__metadata__\":{}}"), "twice"},
      {"duplicate_metadata_key", safetensors_bytes(R"({"__metadata__":{"a":"1","a":"2"}})"), "key 'a' twice"},
      {"duplicate_field", one(R"("t":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]})", four),
       "tensor 't' has the key 'dtype' twice"},
      {"unknown_field", one(R"("t":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":[]})", four),
       "tensor 't' has the unknown key 'x'"},
      {"metadata_number", safetensors_bytes(R"({"__metadata__":{"a":1}})"),
       "'a' is a number, expected a string"},
      {"metadata_null", safetensors_bytes(R"({"__metadata__":null})"), "'__metadata__' is null"},
      {"tensor_is_string", safetensors_bytes(R"({"t":"F32"})"), "'t' is a string, expected an object"},
      {"tensor_is_true", safetensors_bytes(R"({"t":true})"), "'t' is a boolean"},
      {"no_dtype", one(R"("t":{"shape":[1],"data_offsets":[0,4]})", four), "tensor 't' has no dtype"},
      {"no_shape", one(R"("t":{"dtype":"F32","data_offsets":[0,4]})", four), "tensor 't' has no shape"},
      {"no_offsets", one(R"("t":{"dtype":"F32","shape":[1]})", four), "tensor 't' has no data_offsets"},
      {"bad_dtype", one(tensor("t", "F99", "[1]", 0, 4), four), "tensor 't' has the unknown dtype 'F99'"},
      {"dtype_case", one(tensor("t", "f32", "[1]", 0, 4), four), "unknown dtype 'f32'"},
      {"dtype_number", one(R"("t":{"dtype":3})"), "tensor 't' has a number as dtype"},
      {"shape_number", one(R"("t":{"shape":3})"), "tensor 't' has a number as shape"},
      {"negative_dim", one(tensor("t", "F32", "[-1]", 0, 4), four),
       "tensor 't' has a negative number in its shape"},
      {"minus_zero", one(tensor("t", "F32", "[-0]", 0, 0)), "negative number in its shape"},
      {"fraction_dim", one(tensor("t", "F32", "[1.0]", 0, 4), four), "tensor 't' has a fraction"},
      {"exponent_dim", one(tensor("t", "F32", "[1e0]", 0, 4), four), "tensor 't' has a fraction"},
      {"dim_beyond_64_bits", one(tensor("t", "F32", "[36893488147419103232]", 0, 4), four), "beyond 64 bits"},
      {"infinite_dim", one(tensor("t", "F32", "[1e999]", 0, 4), four), "header is not valid JSON"},
      {"string_dim", one(tensor("t", "F32", "[\"1\"]", 0, 4), four), "tensor 't' has a string in its shape"},
      {"null_dim", one(tensor("t", "F32", "[null]", 0, 4), four), "tensor 't' has null in its shape"},
      {"many_dims", one(tensor("t", "F32", many, 0, 4), four), "tensor 't' has more than 64 dimensions"},
      {"product_overflows", one(tensor("t", "F32", "[" + big + "," + big + "]", 0, 4), four),
       "tensor 't' has a size that overflows"},
      {"product_wraps_to_one", one(tensor("t", "U8", "[4294967297,4294967295,65537]", 0, 1), "x"),
       "overflows"},
      {"bytes_overflow", one(tensor("t", "F64", "[2305843009213693953]", 0, 8), eight), "overflows"},
      {"overflow_times_zero", one(tensor("t", "F32", "[" + big + "," + big + ",0]", 0, 0)), "overflows"},
      {"half_a_byte", one(tensor("t", "F4", "[3]", 0, 1), "x"),
       "tensor 't' has a size that overflows or is no whole"},
      {"too_short_for_shape", one(tensor("t", "F32", "[2]", 0, 4), four),
       "has 4 bytes of data, expected 8 for F32 [2]"},
      {"too_long_for_shape", one(tensor("t", "F32", "[1]", 0, 8), eight), "has 8 bytes of data, expected 4"},
      {"one_offset", one(R"("t":{"dtype":"F32","shape":[1],"data_offsets":[0]})", four),
       "has 1 data_offsets"},
      {"three_offsets", one(R"("t":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]})", four),
       "more than two"},
      {"negative_offset", one(R"("t":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]})", four),
       "tensor 't' has a negative number in its data_offsets"},
      {"ends_before_it_begins", one(tensor("t", "F32", "[1]", 4, 0), four),
       "end at 0 before they begin at 4"},
      {"starts_late", one(tensor("t", "F32", "[1]", 4, 8), eight),
       "tensor 't' begins at byte 4 of the data, expected 0"},
      {"hole", one(good + "," + tensor("u", "F32", "[1]", 8, 12), std::string(12, 'x')),
       "tensor 'u' begins at byte 8 of the data, expected 4 (there is a hole)"},
      {"overlap", one(good + "," + tensor("u", "F32", "[1]", 2, 6), eight), "tensor 'u' begins at byte 2"},
      {"same_bytes_twice", one(good + "," + tensor("u", "F32", "[1]", 0, 4), four), "(tensors overlap)"},
      {"trailing_bytes", one(good, four + "y"), "the file goes on for 1 bytes"},
      {"trailing_without_tensors", safetensors_bytes("{}", "y"), "the file goes on for 1 bytes"},
      {"data_truncated", one(good, "xxx"), "tensor 't' ends at byte 4 of the data but the file has only 3"},
      {"end_beyond_everything", one(tensor("t", "U8", "[18446744073709551615]", 0, ~0ull), "x"), "overflows"},
      {"huge_but_consistent", one(tensor("t", "U8", "[1152921504606846976]", 0, 1ull << 60), "x"),
       "tensor 't' ends at byte 1152921504606846976"},
  };
}

class SafetensorsHostile : public testing::TestWithParam<Hostile> {};

TEST_P(SafetensorsHostile, IsRefusedWithASentence) {
  const TempDir dir;
  const std::string path = put_file(dir / "hostile.safetensors", GetParam().content);
  const std::string message = error_of([&] { SafetensorsFile file(path); });
  expect_contains(message, path);
  expect_contains(message, GetParam().expected);
  EXPECT_EQ(message.find('\n'), std::string::npos);
  EXPECT_LT(message.size(), path.size() + 400);
}

INSTANTIATE_TEST_SUITE_P(Table, SafetensorsHostile, testing::ValuesIn(hostile_files()),
                         [](const auto& test) { return std::string(test.param.name); });

std::string small_valid_file() {
  return one("\"__metadata__\":{\"format\":\"pt\"}," + tensor("a", "F32", "[2,1]", 0, 8) + "," +
                 tensor("b", "BF16", "[3]", 8, 14) + "," + tensor("c", "F8_E4M3", "[]", 14, 15),
             std::string(15, 'd'));
}

TEST(SafetensorsHostileSweep, EveryTruncationIsRefused) {
  const TempDir dir;
  const std::string whole = small_valid_file(), path = dir / "cut.safetensors";
  EXPECT_EQ(SafetensorsFile(put_file(path, whole)).tensors().size(), 3u);
  for (size_t length = 0; length < whole.size(); ++length) {
    put_file(path, std::string_view(whole).substr(0, length));
    EXPECT_THROW(SafetensorsFile file(path), Error) << "length " << length;
  }
}

TEST(SafetensorsHostileSweep, EveryBitFlipIsRefusedOrHarmless) {
  const TempDir dir;
  const std::string whole = small_valid_file(), path = dir / "flip.safetensors";
  int refused = 0;
  for (size_t at = 0; at < whole.size() - 15; ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = whole;
      flipped[at] = static_cast<char>(flipped[at] ^ 1 << bit);
      put_file(path, flipped);
      try {
        // What still opens (a changed name, say) must be wholly readable.
        uint64_t bytes = 0, sum = 0;
        const SafetensorsFile file(path);
        for (const TensorInfo& info : file.tensors()) {
          bytes += info.data().size();
          for (const std::byte value : info.data()) sum += static_cast<uint64_t>(value);
        }
        EXPECT_EQ(bytes, 15u);
        EXPECT_EQ(sum, 15u * 'd');
      } catch (const Error& error) {
        expect_contains(error.what(), path);
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 800);
}

TEST(SafetensorsHostileSweep, LongAndStrangeNamesAreCutInMessages) {
  const TempDir dir;
  const std::string path = put_file(
      dir / "x.safetensors", one(tensor(std::string(5000, 'n') + "\\n\\u0007", "F32", "[9]", 0, 4), "abcd"));
  const std::string message = error_of([&] { SafetensorsFile file(path); });
  EXPECT_LT(message.size(), path.size() + 400);
  expect_contains(message, "nnn...'");
}

}  // namespace
}  // namespace octavo
