// SPDX-License-Identifier: Apache-2.0
#include "octavo/io/safetensors.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "io/io_test_util.h"
#include "octavo/io/safetensors_writer.h"
#include "shared_data.h"

namespace octavo {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(FileDtype, NamesRoundTripAndHaveTheSizesOfTheFormat) {
  for (int i = 0; i < kFileDtypeCount; ++i) {
    const auto dtype = static_cast<FileDtype>(i);
    EXPECT_EQ(find_file_dtype(file_dtype_name(dtype)), dtype);
    if (i > 3) {
      EXPECT_GE(file_dtype_bits(dtype), 8);
    }
  }
  EXPECT_EQ(file_dtype_name(FileDtype::f8_e4m3), "F8_E4M3");
  EXPECT_EQ(file_dtype_name(FileDtype::u64), "U64");
  EXPECT_EQ(file_dtype_bits(FileDtype::f8_e8m0), 8);
  EXPECT_EQ(file_dtype_bits(FileDtype::bf16), 16);
  EXPECT_EQ(file_dtype_bits(FileDtype::f32), 32);
  EXPECT_EQ(file_dtype_bits(FileDtype::c64), 64);
  EXPECT_FALSE(find_file_dtype("F8"));
  EXPECT_EQ(tensor_bytes(FileDtype::f6_e2m3, std::vector<uint64_t>{4}), 3u);
  EXPECT_FALSE(tensor_bytes(FileDtype::f6_e2m3, std::vector<uint64_t>{3}));
}

TEST(Safetensors, WritesTheExactBytesOfTheFormat) {
  const TempDir dir;
  const std::string path = dir / "a.safetensors";
  const float two[2] = {1.0f, -2.0f};
  const uint8_t codes[3] = {1, 2, 3};
  write_safetensors(path,
                    std::vector<TensorToWrite>{{"small", FileDtype::f8_e4m3, {3}, codes},
                                               {"zz", FileDtype::f32, {2}, two},
                                               {"empty", FileDtype::f32, {0, 5}, nullptr}},
                    {{"format", "pt"}});
  std::string header =
      R"({"__metadata__":{"format":"pt"},"empty":{"dtype":"F32","shape":[0,5],"data_offsets":[0,0]},)"
      R"("zz":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
      R"("small":{"dtype":"F8_E4M3","shape":[3],"data_offsets":[8,11]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::string data(11, '\0');
  std::memcpy(data.data(), two, 8);
  std::memcpy(data.data() + 8, codes, 3);
  EXPECT_EQ(read_file(path), safetensors_bytes(header, data));
}

TEST(Safetensors, RoundTripOfEveryDtypeFromEightBits) {
  const TempDir dir;
  const std::string path = dir / "all.safetensors";
  std::string data(8 * 6, '\0');
  std::iota(data.begin(), data.end(), '\1');
  std::vector<TensorToWrite> tensors;
  for (int i = 0; i < kFileDtypeCount; ++i) {
    const auto dtype = static_cast<FileDtype>(i);
    if (file_dtype_bits(dtype) < 8) continue;
    const std::string name = "t\"\\\n\xC3\xA9." + std::string(file_dtype_name(dtype));
    tensors.push_back({name, dtype, {2, 1, 3}, data.data()});
  }
  tensors.push_back({"", FileDtype::i64, {}, data.data()});
  write_safetensors(path, tensors, {{"k", "v\n"}, {"", "\xC3\xA9"}});

  SafetensorsFile opened(path);
  const SafetensorsFile file = std::move(opened);
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"k", "v\n"}, {"", "\xC3\xA9"}}));
  ASSERT_EQ(file.tensors().size(), tensors.size());
  const auto names = file.names();
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_EQ(names.size(), tensors.size());
  for (const TensorToWrite& tensor : tensors) {
    const TensorInfo& info = file.get(tensor.name);
    EXPECT_EQ(info.dtype(), tensor.dtype);
    EXPECT_EQ(info.shape(), tensor.shape);
    EXPECT_EQ(info.elements(), tensor.shape.empty() ? 1u : 6u);
    EXPECT_EQ(text_of(info.data()), data.substr(0, *tensor_bytes(tensor.dtype, tensor.shape)));
  }
  EXPECT_EQ(file.find("nowhere"), nullptr);
  const std::string message = error_of([&] { file.get("nowhere"); });
  expect_contains(message, path);
  expect_contains(message, "'nowhere'");
}

TEST(Safetensors, NoTensorsAtAllIsAValidFile) {
  const TempDir dir;
  write_safetensors(dir / "none", {});
  EXPECT_TRUE(SafetensorsFile(dir / "none").tensors().empty());
  EXPECT_EQ(read_file(dir / "none"), safetensors_bytes("{}      "));
}

TEST(Safetensors, SubByteHeaderIsReadButItsDataIsNotOffered) {
  const TempDir dir;
  const std::string path = put_file(
      dir / "f4", safetensors_bytes(R"({"t":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}})", "xy"));
  const SafetensorsFile file(path);
  EXPECT_EQ(file.get("t").dtype(), FileDtype::f4);
  const std::string message = error_of([&] { file.get("t").data(); }, ExitCode::unsupported);
  expect_contains(message, "tensor 't' has dtype F4");
}

TEST(SafetensorsWriter, StreamsInPartsInTheAnnouncedOrder) {
  const TempDir dir;
  SafetensorsWriter writer(dir / "s");
  writer.add("b", FileDtype::u8, {5});
  writer.add("a", FileDtype::bf16, {2});
  writer.add("nothing", FileDtype::u8, {0});
  ASSERT_EQ(writer.order().size(), 3u);
  EXPECT_EQ(writer.order()[0].name, "a");
  EXPECT_EQ(writer.order()[0].bytes, 4u);
  writer.write("a", bytes_of("wxyz"));
  writer.write("b", bytes_of("12"));
  writer.write("b", bytes_of("345"));
  writer.close();
  const SafetensorsFile file(dir / "s");
  EXPECT_EQ(text_of(file.get("a").data()), "wxyz");
  EXPECT_EQ(text_of(file.get("b").data()), "12345");
}

TEST(SafetensorsWriter, RefusesWhatWouldMakeABadFile) {
  const TempDir dir;
  const std::string path = dir / "bad";
  const auto fresh = [&](auto use) {
    return [&, use] {
      SafetensorsWriter writer(path);
      writer.add("a", FileDtype::u8, {4});
      use(writer);
    };
  };
  const auto check = [&](const std::string& message, const std::string& part) {
    expect_contains(message, path);
    expect_contains(message, part);
  };
  check(error_of(fresh([](auto& w) { w.add("a", FileDtype::f32, {1}), w.order(); })),
        "'a' is declared twice");
  check(error_of(fresh([](auto& w) { w.add("__metadata__", FileDtype::f32, {1}); })), "reserves");
  check(error_of(fresh([](auto& w) { w.add("x", FileDtype::f32, {1ull << 62}); })), "overflows");
  check(error_of(fresh([](auto& w) { w.add("x", FileDtype::f4, {2}); }), ExitCode::unsupported),
        "below 8 bits");
  check(error_of(fresh([](auto& w) { w.add("x\xFF", FileDtype::u8, {2}), w.order(); })), "UTF-8");
  check(error_of(fresh([](auto& w) { w.order(), w.add("x", FileDtype::u8, {2}); })), "after the header");
  check(error_of(fresh([](auto& w) { w.write("b", bytes_of("x")); })), "'b' where 'a' is due");
  check(error_of(fresh([](auto& w) { w.write("a", bytes_of("12345")); })), "more than its 4 bytes");
  check(error_of(fresh([](auto& w) { w.write("a", bytes_of("12")), w.close(); })), "has 2 of its 4 bytes");
}

TEST(SafetensorsWriter, AFullDeviceIsAnError) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  const std::string message = error_of([] {
    const float value = 1;
    write_safetensors("/dev/full", std::vector<TensorToWrite>{{"a", FileDtype::f32, {1}, &value}});
  });
  expect_contains(message, "No space left on device");
}

TEST(Safetensors, LoadsARealModel) {
  const auto path = shared_data("model-tinystories-656k/model.safetensors");
  if (!path) GTEST_SKIP() << "shared data not at hand";
  const SafetensorsFile file(*path);
  EXPECT_EQ(file.tensors().size(), 20u);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.get("lm_head.weight").shape(), (std::vector<uint64_t>{2048, 128}));
  EXPECT_EQ(file.get("model.layers.1.self_attn.k_proj.weight").shape(), (std::vector<uint64_t>{64, 128}));
  EXPECT_EQ(file.get("model.layers.0.mlp.down_proj.weight").shape(), (std::vector<uint64_t>{128, 384}));
  EXPECT_EQ(file.get("model.norm.weight").dtype(), FileDtype::f32);
  EXPECT_EQ(file.get("model.norm.weight").data().size(), 512u);
}

}  // namespace
}  // namespace octavo
