// SPDX-License-Identifier: Apache-2.0
#include "octavo/io/tensor_directory.h"

#include "io/io_test_util.h"
#include "octavo/io/safetensors_writer.h"
#include "shared_data.h"

namespace octavo {
namespace {

void put_shard(const std::string& path, const std::vector<std::string>& names) {
  const float value = static_cast<float>(path.size());
  std::vector<TensorToWrite> tensors;
  for (const std::string& name : names) tensors.push_back({name, FileDtype::f32, {1}, &value});
  write_safetensors(path, tensors);
}

class TensorDirectoryTest : public testing::Test {
 protected:
  void put_index(const std::string& weight_map) {
    put_file(dir_ / "model.safetensors.index.json",
             R"({"metadata":{"total_size":8},"weight_map":)" + weight_map + "}");
  }
  std::string open_error() {
    return error_of([&] { TensorDirectory directory(dir_.path()); });
  }
  TempDir dir_;
};

TEST_F(TensorDirectoryTest, SingleFile) {
  put_shard(dir_ / "model.safetensors", {"b", "a"});
  const TensorDirectory directory(dir_.path());
  EXPECT_EQ(directory.names(), (std::vector<std::string>{"a", "b"}));
  EXPECT_NE(directory.find("a"), nullptr);
  EXPECT_EQ(directory.find("c"), nullptr);
  expect_contains(error_of([&] { directory.get("c"); }), "there is no tensor 'c'");
}

TEST_F(TensorDirectoryTest, Shards) {
  put_shard(dir_ / "model-00001-of-00002.safetensors", {"a", "c"});
  put_shard(dir_ / "model-00002-of-00002.safetensors", {"b"});
  put_index(R"({"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors",)"
            R"("c":"model-00001-of-00002.safetensors"})");
  const TensorDirectory opened(dir_.path());
  EXPECT_EQ(opened.names(), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(opened.files().size(), 2u);
  expect_contains(opened.get("b").file(), "model-00002-of-00002");
}

TEST_F(TensorDirectoryTest, NothingThere) {
  expect_contains(open_error(), "has neither model.safetensors nor");
}

TEST_F(TensorDirectoryTest, PathsOutOfTheDirectoryAreRefused) {
  for (const std::string name : {"../x.safetensors", "/etc/x.safetensors", "a/b.safetensors", "..", "",
                                 "x.bin", "a\\\\b.safetensors", "x\\u0000.safetensors"}) {
    put_index("{\"a\":\"" + name + "\"}");
    expect_contains(open_error(), "expected the plain name of a .safetensors file");
  }
}

TEST_F(TensorDirectoryTest, IndexAndShardsMustAgree) {
  put_shard(dir_ / "s1.safetensors", {"a"});
  put_index(R"({"a":"s1.safetensors","b":"s1.safetensors"})");
  expect_contains(open_error(), "tensor 'b' is missing");
  put_index(R"({"a":"s1.safetensors","b":"s2.safetensors"})");
  expect_contains(open_error(), "s2.safetensors': No such file");
  put_shard(dir_ / "s2.safetensors", {"a", "b"});
  expect_contains(open_error(), "tensor 'a' is not mapped to this file");
  put_shard(dir_ / "s2.safetensors", {"b", "extra"});
  expect_contains(open_error(), "tensor 'extra' is not mapped to this file");
  put_shard(dir_ / "s2.safetensors", {"b"});
  EXPECT_EQ(TensorDirectory(dir_.path()).names().size(), 2u);
}

TEST_F(TensorDirectoryTest, MalformedIndex) {
  put_index("[]");
  expect_contains(open_error(), "key 'weight_map' is an array, expected an object");
  put_index(R"({"a":1})");
  expect_contains(open_error(), "key 'weight_map.a' is a whole number, expected a string");
  put_index(R"({"a":"x.safetensors","a":"y.safetensors"})");
  expect_contains(open_error(), "'a' occurs twice");
  put_file(dir_ / "model.safetensors.index.json", "{}");
  expect_contains(open_error(), "key 'weight_map' is missing");
}

TEST(TensorDirectoryReal, LoadsARealModel) {
  const auto path = shared_data("model-tinystories-656k");
  if (!path) GTEST_SKIP() << "shared data not at hand";
  EXPECT_EQ(TensorDirectory(*path).get("lm_head.weight").elements(), 2048u * 128u);
}

}  // namespace
}  // namespace octavo
