// SPDX-License-Identifier: Apache-2.0
// GGUF files made by hand, right or wrong in every field.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace octavo {

template <class T>
std::string raw(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

inline std::string gguf_text(const std::string& text) { return raw<uint64_t>(text.size()) + text; }

/// Values of metadata with the number of their type in front.
inline std::string gguf_u32(uint32_t v) { return raw<uint32_t>(4) + raw(v); }
inline std::string gguf_f32(float v) { return raw<uint32_t>(6) + raw(v); }
inline std::string gguf_bool(bool v) { return raw<uint32_t>(7) + raw<uint8_t>(v); }
inline std::string gguf_string(const std::string& v) { return raw<uint32_t>(8) + gguf_text(v); }
inline std::string gguf_strings(const std::vector<std::string>& v) {
  std::string out = raw<uint32_t>(9) + raw<uint32_t>(8) + raw<uint64_t>(v.size());
  for (const std::string& text : v) out += gguf_text(text);
  return out;
}
inline std::string gguf_ints(const std::vector<int32_t>& v) {
  std::string out = raw<uint32_t>(9) + raw<uint32_t>(5) + raw<uint64_t>(v.size());
  for (const int32_t number : v) out += raw(number);
  return out;
}

struct GgufBuilder {
  struct Tensor {
    std::string name;
    std::vector<uint64_t> dims;  ///< as in the file: columns first
    uint32_t type = 0;
    std::string data;
  };
  std::string magic = "GGUF";
  uint32_t version = 3;
  std::vector<std::pair<std::string, std::string>> metadata;
  std::vector<Tensor> tensors;
  size_t alignment = 32;

  void set(const std::string& key, std::string value) {
    for (auto& [known, old] : metadata)
      if (known == key) {
        old = std::move(value);
        return;
      }
    metadata.emplace_back(key, std::move(value));
  }
  Tensor& tensor(const std::string& name) {
    for (Tensor& t : tensors)
      if (t.name == name) return t;
    return tensors.emplace_back(Tensor{name, {}, 0, ""});
  }
  /// Everything before the data, without the padding.
  std::string head() const {
    std::string out = magic + raw(version) + raw<uint64_t>(tensors.size()) + raw<uint64_t>(metadata.size());
    for (const auto& [key, value] : metadata) out += gguf_text(key) + value;
    uint64_t offset = 0;
    for (const Tensor& t : tensors) {
      out += gguf_text(t.name) + raw(static_cast<uint32_t>(t.dims.size()));
      for (const uint64_t d : t.dims) out += raw(d);
      out += raw(t.type) + raw(offset);
      offset = (offset + t.data.size() + alignment - 1) / alignment * alignment;
    }
    return out;
  }
  std::string bytes() const {
    std::string out = head();
    for (const Tensor& t : tensors) {
      out.resize((out.size() + alignment - 1) / alignment * alignment);
      out += t.data;
    }
    return out;
  }
};

/// F32 elements that count up from `first`.
inline std::string counting(size_t count, size_t first) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += raw(static_cast<float>(first + i));
  return out;
}

/// A Llama with one layer, width 8, 2 heads of 4, 1 key/value head, ffn 3, vocabulary 5.
inline GgufBuilder small_llama() {
  GgufBuilder b;
  b.set("general.architecture", gguf_string("llama"));
  b.set("llama.block_count", gguf_u32(1));
  b.set("llama.context_length", gguf_u32(16));
  b.set("llama.embedding_length", gguf_u32(8));
  b.set("llama.feed_forward_length", gguf_u32(3));
  b.set("llama.attention.head_count", gguf_u32(2));
  b.set("llama.attention.head_count_kv", gguf_u32(1));
  b.set("llama.attention.layer_norm_rms_epsilon", gguf_f32(1e-5f));
  size_t first = 0;
  const auto add = [&](const std::string& name, std::vector<uint64_t> dims) {
    size_t count = 1;
    for (const uint64_t d : dims) count *= d;
    b.tensors.push_back({name, std::move(dims), 0, counting(count, first)});
    first += 100;
  };
  add("token_embd.weight", {8, 5});
  add("blk.0.attn_norm.weight", {8});
  add("blk.0.attn_q.weight", {8, 8});
  add("blk.0.attn_k.weight", {8, 4});
  add("blk.0.attn_v.weight", {8, 4});
  add("blk.0.attn_output.weight", {8, 8});
  add("blk.0.ffn_norm.weight", {8});
  add("blk.0.ffn_gate.weight", {8, 3});
  add("blk.0.ffn_up.weight", {8, 3});
  add("blk.0.ffn_down.weight", {3, 8});
  add("output_norm.weight", {8});
  return b;
}

}  // namespace octavo
