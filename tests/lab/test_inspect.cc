// SPDX-License-Identifier: Apache-2.0
#include "octavo/lab/inspect.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "cli/run_octavo.h"
#include "io/gguf_builder.h"
#include "lab/lab_testing.h"
#include "octavo/data/shard.h"
#include "octavo/io/gguf.h"
#include "octavo/io/safetensors_writer.h"
#include "octavo/numerics/bf16.h"

namespace octavo {
namespace {

const TensorFacts& tensor(const Inspection& inspection, const std::string& name) {
  const auto found = std::find_if(inspection.tensors.begin(), inspection.tensors.end(),
                                  [&](const TensorFacts& t) { return t.name == name; });
  if (found == inspection.tensors.end()) throw std::runtime_error("no tensor " + name);
  return *found;
}

class InspectFile : public testing::Test {
 protected:
  Inspection write(const std::vector<TensorToWrite>& tensors) {
    write_safetensors(path, tensors, {{"made by", "a\ntest"}});
    return inspect(path);
  }
  TemporaryDirectory directory;
  const std::string path = directory / "t.safetensors";
};

TEST_F(InspectFile, FiguresOfValues) {
  const std::vector<float> values{-3, 0, 1, 2, NAN, INFINITY};
  const std::vector<uint16_t> halves{bf16_from_float(0.5f), bf16_from_float(-0.25f)};
  const std::vector<int64_t> whole{7};
  const Inspection found = write({{"v", FileDtype::f32, {2, 3}, values.data()},
                                  {"h", FileDtype::bf16, {2}, halves.data()},
                                  {"i", FileDtype::i64, {}, whole.data()},
                                  {"none", FileDtype::f32, {0, 4}, nullptr}});
  EXPECT_EQ(found.kind, "safetensors");
  const TensorFacts& v = tensor(found, "v");
  EXPECT_EQ(v.not_finite, 2u);
  EXPECT_EQ(v.min, -3);
  EXPECT_EQ(v.max, 2);
  EXPECT_EQ(v.amax, 3);
  EXPECT_EQ(v.mean, 0);
  EXPECT_DOUBLE_EQ(v.std, std::sqrt(14.0 / 4));
  EXPECT_EQ(v.bytes, 24u);
  EXPECT_FALSE(v.occupancy);
  EXPECT_EQ(tensor(found, "h").min, -0.25);
  EXPECT_EQ(tensor(found, "i").max, 7);
  EXPECT_FALSE(tensor(found, "none").has_values);
  const std::string text = to_text(found);
  EXPECT_NE(text.find("2 of its 6 values are infinite or NaN"), std::string::npos) << text;
  EXPECT_NE(text.find("a?test"), std::string::npos) << text;  // no control bytes on the terminal
}

// Spread far below the mean, over many blocks: sums of squares in one pass would give nothing like it.
TEST_F(InspectFile, TheSpreadOfValuesNearOne) {
  std::vector<float> values;
  for (int i = 0; i < 100000; ++i) values.push_back(1 + (i % 2 ? 1.f : -1.f) / 1048576);
  const Inspection found = write({{"norm", FileDtype::f32, {100000}, values.data()}});
  EXPECT_NEAR(found.tensors[0].std, 1.0 / 1048576, 1e-12);
  EXPECT_NEAR(found.tensors[0].mean, 1, 1e-12);
}

TEST_F(InspectFile, OccupancyOfE4M3) {
  // 0, -0, smallest subnormal, 1, -1, 448, -448, NaN
  const std::vector<uint8_t> codes{0x00, 0x80, 0x01, 0x38, 0xb8, 0x7e, 0xfe, 0x7f};
  const float scale = 0.25f;
  const Inspection found = write({{"w", FileDtype::f8_e4m3, {2, 4}, codes.data()},
                                  {"w_scale", FileDtype::f32, {1}, &scale},
                                  {"alone", FileDtype::f8_e4m3, {8}, codes.data()}});
  const TensorFacts& w = tensor(found, "w");
  EXPECT_EQ(w.not_finite, 1u);
  EXPECT_EQ(w.max, 448 * 0.25);
  EXPECT_EQ(w.min, -448 * 0.25);
  ASSERT_TRUE(w.occupancy);
  const Occupancy& o = *w.occupancy;
  EXPECT_EQ(o.scale_tensor, "w_scale");
  EXPECT_EQ(o.scale_low, 0.25);
  EXPECT_DOUBLE_EQ(o.zeros, 2.0 / 8);
  EXPECT_DOUBLE_EQ(o.subnormals, 1.0 / 8);
  EXPECT_DOUBLE_EQ(o.saturated, 2.0 / 8);
  EXPECT_EQ(o.first_exponent, -6);
  ASSERT_EQ(o.exponents.size(), 15u);  // 2^-6 .. 2^8
  EXPECT_EQ(o.exponents[6], 2u);       // 1 and -1
  EXPECT_EQ(o.exponents[14], 2u);
  const TensorFacts& alone = tensor(found, "alone");
  EXPECT_EQ(alone.occupancy->scale_tensor, "");
  EXPECT_EQ(alone.max, 448);
  const std::string text = to_text(found);
  EXPECT_NE(text.find("scale 2^-2"), std::string::npos) << text;
  EXPECT_NE(text.find("saturated 25 %"), std::string::npos) << text;
  EXPECT_NE(text.find("no scale beside it"), std::string::npos) << text;
}

TEST_F(InspectFile, OccupancyOfTheOtherFormats) {
  const std::vector<uint8_t> e5m2{0x7b, 0x7c, 0x3c, 0x01};  // 57344, inf, 1, subnormal
  const std::vector<uint8_t> fnuz{0x7f, 0x80, 0x40, 0x00};  // 240, NaN, 1, 0 (E4M3FNUZ)
  const Inspection found =
      write({{"a", FileDtype::f8_e5m2, {4}, e5m2.data()}, {"b", FileDtype::f8_e4m3fnuz, {4}, fnuz.data()}});
  const Occupancy &a = *tensor(found, "a").occupancy, &b = *tensor(found, "b").occupancy;
  EXPECT_EQ(a.first_exponent, -14);
  EXPECT_EQ(a.exponents.size(), 30u);  // 2^-14 .. 2^15
  EXPECT_EQ(a.exponents.back(), 1u);
  EXPECT_DOUBLE_EQ(a.saturated, 0.25);
  EXPECT_EQ(tensor(found, "a").not_finite, 1u);
  EXPECT_EQ(tensor(found, "b").max, 240);
  EXPECT_EQ(b.first_exponent, -7);
  EXPECT_DOUBLE_EQ(b.zeros, 0.25);
  EXPECT_EQ(tensor(found, "b").not_finite, 1u);
}

TEST_F(InspectFile, ScalesOfRowsAndBlocks) {
  const std::vector<uint8_t> ones(300 * 2, 0x38);
  std::vector<float> rows{2, 3}, blocks{1, 2, 5};
  const Inspection found = write({{"r", FileDtype::f8_e4m3, {2, 300}, ones.data()},
                                  {"r_scale", FileDtype::f32, {2, 1}, rows.data()},
                                  {"b", FileDtype::f8_e4m3, {2, 300}, ones.data()},
                                  {"b_scale_inv", FileDtype::f32, {1, 3}, blocks.data()}});
  EXPECT_EQ(tensor(found, "r").min, 2);
  EXPECT_EQ(tensor(found, "r").max, 3);
  EXPECT_DOUBLE_EQ(tensor(found, "r").mean, 2.5);
  EXPECT_EQ(tensor(found, "b").occupancy->scale_tensor, "b_scale_inv");
  EXPECT_DOUBLE_EQ(tensor(found, "b").mean, (128 * 1 + 128 * 2 + 44 * 5) / 300.0);
}

TEST_F(InspectFile, ErrorsNameFileAndTensor) {
  const std::vector<uint8_t> codes(6, 0x38);
  const std::vector<float> scales(4, 1);
  expect_error(
      [&] {
        write({{"w", FileDtype::f8_e4m3, {2, 3}, codes.data()},
               {"w_scale", FileDtype::f32, {4}, scales.data()}});
      },
      ExitCode::bad_data, {"t.safetensors", "'w'", "'w_scale'", "4 scales"});
  spill(path, slurp(path).substr(0, 100));
  expect_error([&] { inspect(path); }, ExitCode::bad_data, {"t.safetensors"});
  expect_error([&] { inspect(directory / "nowhere"); }, ExitCode::bad_data, {"nowhere"});
  expect_error([&] { inspect(directory.path()); }, ExitCode::bad_data, {directory.path(), "metrics.jsonl"});
  spill(directory / "a.txt", "text");
  expect_error([&] { inspect(directory / "a.txt"); }, ExitCode::bad_data, {"a.txt", ".safetensors"});
  spill(directory / "a.gguf", std::string("GGUF\3\0\0\0", 8));
  expect_error([&] { inspect(directory / "a.gguf"); }, ExitCode::bad_data, {"a.gguf"});
}

TEST_F(InspectFile, Shards) {
  ShardHeader header;
  header.vocab_size = 300;
  const std::vector<int32_t> ids{5, 299, 5, 7};
  write_shard(directory / "s.octok", header, ids);
  const auto json = nlohmann::json::parse(to_json(inspect(directory / "s.octok")));
  EXPECT_EQ(json["schema"], "octavo-inspect-1");
  EXPECT_EQ(json["kind"], "token shard");
  EXPECT_EQ(json["facts"]["tokens"], 4);
  EXPECT_EQ(json["facts"]["largest id"], 299);
  EXPECT_EQ(json["facts"]["smallest id"], 5);
  EXPECT_EQ(json["facts"]["different ids"], 3);
  std::string text = slurp(directory / "s.octok");
  text.back() = 1;  // an id beyond the vocabulary, and a wrong checksum
  spill(directory / "s.octok", text);
  expect_error([&] { inspect(directory / "s.octok"); }, ExitCode::bad_data, {"s.octok"});
  // No header at all: nanoGPT's.
  spill(directory / "n.bin", std::string("\1\0\2\0", 4));
  EXPECT_EQ(nlohmann::json::parse(to_json(inspect(directory / "n.bin")))["facts"]["format"], "nanogpt");
}

TEST(Sparkline, BarsByShare) {
  EXPECT_EQ(sparkline({0, 1, 4, 8}), " ▂▅█");
  EXPECT_EQ(sparkline({0, 0}), "  ");
  EXPECT_EQ(sparkline({}), "");
}

TEST(Inspect, GgufFile) {
  const TemporaryDirectory directory;
  const GgufBuilder builder = small_llama();
  spill(directory / "m.gguf", builder.bytes());
  const Inspection found = inspect(directory / "m.gguf");
  EXPECT_EQ(found.kind, "GGUF file");
  const std::string text = to_text(found);
  EXPECT_NE(text.find("llama"), std::string::npos) << text;
  const GgufFile file(directory / "m.gguf");
  ASSERT_EQ(found.tensors.size(), file.tensors().size());
  for (size_t t = 0; t < found.tensors.size(); ++t) {
    const GgufTensor& tensor = file.tensors()[t];
    std::vector<float> values(tensor.elements());
    decode_gguf(*tensor.encoding, tensor.data.data(), tensor.elements(), values.data());
    EXPECT_EQ(found.tensors[t].name, tensor.name);
    EXPECT_EQ(found.tensors[t].dtype, tensor.encoding->name);
    EXPECT_EQ(found.tensors[t].bytes, tensor.data.size());
    EXPECT_EQ(found.tensors[t].max, double{*std::max_element(values.begin(), values.end())}) << tensor.name;
  }
}

}  // namespace
}  // namespace octavo
