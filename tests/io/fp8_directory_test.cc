// SPDX-License-Identifier: Apache-2.0
// FP8 directories made by hand, right or wrong in one place.
#include <cmath>
#include <cstring>
#include <map>

#include "io/io_test_util.h"
#include "io/small_model.h"
#include "octavo/io/hf_model.h"
#include "octavo/io/safetensors_writer.h"
#include "octavo/io/weight_source.h"
#include "octavo/numerics/decode.h"

namespace octavo {
namespace {

Quantization per_tensor() {
  Quantization q;
  q.ignore = {"lm_head"};
  return q;
}

struct Stored {
  FileDtype dtype = FileDtype::f32;
  std::vector<uint64_t> shape;
  std::string data;
};

std::string bytes_of(std::initializer_list<float> values) {
  std::string out;
  for (const float v : values) out.append(reinterpret_cast<const char*>(&v), 4);
  return out;
}

/// Every tensor of the small model: codes 0, 1, 2, ... (no NaN) with scale 0.5, everything else F32 zeros.
std::map<std::string, Stored> small_tensors(Transformer& model, const Quantization& q) {
  std::map<std::string, Stored> out;
  for (const Parameter& p : model.parameters().all()) {
    const std::vector<uint64_t> shape = disk_shape(p);
    if (!is_linear_weight(p) || q.ignores(module_of(p.name))) {
      out[p.name] = {FileDtype::f32, shape, std::string(static_cast<size_t>(p.size()) * 4, '\0')};
      continue;
    }
    std::string codes;
    for (int64_t i = 0; i < p.size(); ++i) codes += static_cast<char>(i % 0x7f);
    out[p.name] = {FileDtype::f8_e4m3, shape, codes};
    const auto scale_shape = q.scale_shape(shape[0], shape[1]);
    std::string scales;
    for (uint64_t i = 0; i < *shape_elements(scale_shape); ++i)
      scales += bytes_of({0.5f + static_cast<float>(i)});
    out[module_of(p.name) + "." + std::string(q.scale_name())] = {FileDtype::f32, scale_shape, scales};
    if (q.inputs == Quantization::Inputs::static_tensor)
      out[module_of(p.name) + ".input_scale"] = {FileDtype::f32, {1}, bytes_of({1})};
  }
  return out;
}

class Fp8Directory : public testing::Test {
 protected:
  Fp8Directory() : model(config, Recipe(), Purpose::inference, pool) {}

  void write(const std::map<std::string, Stored>& tensors, const Quantization& q) {
    std::vector<TensorToWrite> list;
    for (const auto& [name, t] : tensors) list.push_back({name, t.dtype, t.shape, t.data.data()});
    write_safetensors(dir / "model.safetensors", list);
    put_file(dir / "config.json", with_quantization(hf_config_json(config, FileDtype::f32), q));
  }
  std::vector<float> read(const std::string& name) {
    const WeightSource source(dir.path(), config, model.parameters());
    std::vector<float> out;
    source.read(*model.parameters().find(name), out);
    return out;
  }
  std::string refusal(const std::function<void(std::map<std::string, Stored>&)>& change,
                      Quantization q = per_tensor()) {
    auto tensors = small_tensors(model, q);
    change(tensors);
    write(tensors, q);
    const std::string message =
        error_of([&] { WeightSource source(dir.path(), config, model.parameters()); });
    expect_contains(message, dir.path());
    EXPECT_EQ(message.find('\n'), std::string::npos);
    return message;
  }

  TempDir dir;
  ThreadPool pool{1};
  ModelConfig config = small_model_config();
  Transformer model;
};

const char* const kUp = "model.layers.0.mlp.up_proj.weight";
const char* const kUpScale = "model.layers.0.mlp.up_proj.weight_scale";

TEST_F(Fp8Directory, EveryGranularityIsCodeTimesScale) {
  Quantization q = per_tensor();
  const auto code = [](int64_t i) { return kDecodeTable<Format::e4m3>[static_cast<size_t>(i % 0x7f)]; };
  write(small_tensors(model, q), q);
  const std::vector<float> tensor = read(kUp);
  q.weights.kind = Granularity::row;
  write(small_tensors(model, q), q);
  const std::vector<float> row = read(kUp);
  q.convention = Quantization::Convention::fp8;
  q.weights = {Granularity::block, 5, 3};  // 12 x 8 in 3 x 3 blocks, the last ones cut
  write(small_tensors(model, q), q);
  const std::vector<float> block = read(kUp);
  for (int64_t r = 0; r < 12; ++r)
    for (int64_t c = 0; c < 8; ++c) {
      const size_t i = static_cast<size_t>(r * 8 + c);
      EXPECT_EQ(tensor[i], code(r * 8 + c) * 0.5f);
      EXPECT_EQ(row[i], code(r * 8 + c) * (0.5f + static_cast<float>(r)));
      EXPECT_EQ(block[i], code(r * 8 + c) * (0.5f + static_cast<float>(r / 5 * 3 + c / 3)));
    }
}

TEST_F(Fp8Directory, ScalesMayBeShortAndIn16Bits) {
  auto tensors = small_tensors(model, per_tensor());
  tensors[kUpScale] = {FileDtype::bf16, {}, std::string("\x80\x3f", 2)};
  write(tensors, per_tensor());
  EXPECT_EQ(read(kUp)[9], kDecodeTable<Format::e4m3>[9]);
}

TEST_F(Fp8Directory, TheModelLoadsAndComputes) {
  write(small_tensors(model, per_tensor()), per_tensor());
  ModelConfig back = read_hf_config(dir.path());
  EXPECT_EQ(back.width, 8);
  model.allocate({1, 4, 4});
  load_hf_weights(dir.path(), model);
  const int32_t token = 1;
  EXPECT_EQ(model.step(1, 1, &token).size(), 6u);
}

TEST_F(Fp8Directory, ScalesThatAreWrongAreRefused) {
  using Tensors = std::map<std::string, Stored>&;
  expect_contains(refusal([](Tensors t) { t.erase(kUpScale); }),
                  "'model.layers.0.mlp.up_proj.weight_scale' is missing");
  for (const float bad : {0.0f, -1.0f, INFINITY, NAN})
    expect_contains(refusal([&](Tensors t) { t[kUpScale].data = bytes_of({bad}); }),
                    "'model.layers.0.mlp.up_proj.weight_scale' is ");
  expect_contains(refusal([](Tensors t) {
                    t[kUpScale] = {FileDtype::f32, {2}, bytes_of({1, 1})};
                  }),
                  "weight_scale' has shape [2], its weight asks for [1]");
  expect_contains(refusal([](Tensors t) {
                    t[kUpScale] = {FileDtype::f8_e8m0, {1}, "\x7f"};
                  }),
                  "is F8_E8M0, a scale");
  expect_contains(refusal([](Tensors t) {
                    t["model.norm.weight_scale"] = {FileDtype::f32, {1}, bytes_of({1})};
                  }),
                  "'model.norm.weight_scale' is a scale that belongs to no");
  expect_contains(refusal([](Tensors t) { t["model.layers.0.mlp.up_proj.weight_scale_inv"] = t[kUpScale]; }),
                  "weight_scale_inv' is a scale that belongs to no");
  expect_contains(refusal([](Tensors t) { t["model.layers.0.mlp.up_proj.input_scale"] = t[kUpScale]; }),
                  "input_scale' is a scale that belongs to no");
  expect_contains(refusal([](Tensors t) { t["model.layers.0.self_attn.k_scale"] = t[kUpScale]; }),
                  "k_scale'");
  Quantization fixed = per_tensor();
  fixed.inputs = Quantization::Inputs::static_tensor;
  expect_contains(refusal([](Tensors t) { t.erase("model.layers.0.mlp.up_proj.input_scale"); }, fixed),
                  "input_scale' is missing");
  Quantization rows = per_tensor();
  rows.weights.kind = Granularity::row;
  expect_contains(refusal(
                      [](Tensors t) {
                        t[kUpScale] = {FileDtype::f32, {1, 12}, std::string(48, '\x3f')};
                      },
                      rows),
                  "has shape [1, 12], its weight asks for [12, 1]");
}

TEST_F(Fp8Directory, WeightsThatDisagreeWithTheConfigurationAreRefused) {
  using Tensors = std::map<std::string, Stored>&;
  const auto plain = [](uint64_t rows, uint64_t cols) -> Stored {
    return {FileDtype::f32, {rows, cols}, std::string(rows * cols * 4, '\0')};
  };
  expect_contains(refusal([&](Tensors t) { t[kUp] = plain(12, 8); }),
                  "up_proj.weight' is F32, but quantization_config");
  expect_contains(refusal([](Tensors t) { t[kUp].dtype = FileDtype::f8_e5m2; }),
                  "up_proj.weight' is F8_E5M2");
  expect_contains(refusal([](Tensors t) { t[kUp].dtype = FileDtype::f8_e4m3fnuz; }), "F8_E4M3FNUZ");
  expect_contains(refusal([](Tensors t) {
                    t["lm_head.weight"] = {FileDtype::f8_e4m3, {6, 8}, std::string(48, '\1')};
                  }),
                  "'lm_head.weight' is F8_E4M3 although quantization_config ignores");
  expect_contains(refusal([](Tensors t) {
                    t["model.norm.weight"] = {FileDtype::f8_e4m3, {8}, std::string(8, '\1')};
                  }),
                  "'model.norm.weight' is F8_E4M3 but is no linear layer");
  expect_contains(refusal([](Tensors t) {
                    t["model.embed_tokens.weight"] = {FileDtype::f8_e4m3, {6, 8}, std::string(48, '\1')};
                  }),
                  "embed_tokens.weight' is F8_E4M3 but is no linear layer");
  expect_contains(refusal([](Tensors t) {
                    t["extra.weight"] = {FileDtype::f8_e4m3, {1}, "\1"};
                  }),
                  "extra.weight");
  expect_contains(refusal([](Tensors t) { t[kUp].shape = {8, 12}; }), "up_proj.weight has shape [8, 12]");
  auto tensors = small_tensors(model, per_tensor());
  tensors[kUp].data[17] = '\xff';
  write(tensors, per_tensor());
  expect_contains(error_of([&] { read(kUp); }), "'model.layers.0.mlp.up_proj.weight' holds a NaN");
  put_file(dir / "config.json", hf_config_json(config, FileDtype::f32));
  tensors = small_tensors(model, per_tensor());
  std::erase_if(tensors, [](const auto& entry) { return entry.first.ends_with("_scale"); });
  std::vector<TensorToWrite> list;
  for (const auto& [name, t] : tensors) list.push_back({name, t.dtype, t.shape, t.data.data()});
  write_safetensors(dir / "model.safetensors", list);
  expect_contains(error_of([&] { read(kUp); }, ExitCode::unsupported), "with a quantization_config, F8_E4M3");
}

TEST_F(Fp8Directory, EveryTruncationAndBitFlipIsRefusedOrHarmless) {
  write(small_tensors(model, per_tensor()), per_tensor());
  const std::string path = dir / "model.safetensors", whole = read_file(path);
  uint64_t header = 0;
  std::memcpy(&header, whole.data(), 8);
  const auto attempt = [&](const std::string& content) {
    put_file(path, content);
    try {
      const WeightSource source(dir.path(), config, model.parameters());
      std::vector<float> values;
      for (const Parameter& p : model.parameters().all()) source.read(p, values);
      return true;
    } catch (const Error& error) {
      expect_contains(error.what(), dir.path());
      return false;
    }
  };
  ASSERT_TRUE(attempt(whole));
  for (size_t length = 0; length < whole.size(); ++length)
    EXPECT_FALSE(attempt(whole.substr(0, length))) << length;
  int opened = 0;
  for (size_t at = 0; at < 8 + header; ++at)
    for (const int bit : {0, 3, 5}) {
      std::string flipped = whole;
      flipped[at] = static_cast<char>(flipped[at] ^ 1 << bit);
      opened += attempt(flipped);
    }
  EXPECT_LT(opened, 200);  // swapped offsets of equal tensors and changed padding stay valid
}

}  // namespace
}  // namespace octavo
