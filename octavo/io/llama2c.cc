// SPDX-License-Identifier: Apache-2.0
#include "octavo/io/llama2c.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "octavo/base/error.h"

namespace octavo {
namespace {

constexpr uint32_t kMagic = 0x616b3432;  // "ak42" as a number
constexpr size_t kLegacyHeader = 7 * 4;
constexpr size_t kVersionedHeader = 256;

int32_t int_at(std::span<const std::byte> bytes, size_t offset) {
  int32_t value = 0;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

/// Bytes of all parameters; sizes from a header are checked here before anything else is made of them.
class SizeSum {
 public:
  void add(std::initializer_list<int64_t> factors) {
    uint64_t product = sizeof(float);
    for (const int64_t factor : factors) {
      overflow_ |= __builtin_mul_overflow(product, static_cast<uint64_t>(factor), &product);
    }
    overflow_ |= __builtin_add_overflow(total_, product, &total_);
  }
  bool matches(uint64_t bytes) const { return !overflow_ && total_ == bytes; }
  std::string text() const { return overflow_ ? "more than 2^64" : std::to_string(total_); }

 private:
  uint64_t total_ = 0;
  bool overflow_ = false;
};

SizeSum data_size(const Llama2cConfig& c, int version) {
  const int64_t kv_dim = c.head_dim() * c.n_kv_heads;
  SizeSum sum;
  sum.add({c.vocab_size, c.dim, c.shared_classifier ? 1 : 2});
  sum.add({c.n_layers, c.dim, 2});          // norms
  sum.add({c.n_layers, c.dim, c.dim, 2});   // wq, wo
  sum.add({c.n_layers, kv_dim, c.dim, 2});  // wk, wv
  sum.add({c.n_layers, c.hidden_dim, c.dim, 3});
  sum.add({c.dim});
  if (version == 0) sum.add({c.max_seq_len, c.head_dim()});  // rotary tables, recomputed by every reader
  return sum;
}

void check_config(const Llama2cConfig& c, const std::string& path) {
  const std::pair<const char*, int64_t> fields[] = {
      {"dim", c.dim},
      {"hidden_dim", c.hidden_dim},
      {"n_layers", c.n_layers},
      {"n_heads", c.n_heads},
      {"n_kv_heads", c.n_kv_heads},
      {"vocab_size", c.vocab_size},
      {"max_seq_len", c.max_seq_len},
  };
  for (const auto& [name, value] : fields) {
    if (value <= 0) {
      fail_data(
          fmt::format("'{}' is not a llama2.c model: {} is {}, expected more than 0", path, name, value));
    }
  }
  if (c.dim % c.n_heads != 0 || c.head_dim() % 2 != 0) {
    fail_data(fmt::format("'{}' is not a llama2.c model: dim {} does not split into {} heads of an even size",
                          path, c.dim, c.n_heads));
  }
  if (c.n_heads % c.n_kv_heads != 0) {
    fail_data(fmt::format("'{}' is not a llama2.c model: n_heads {} is no multiple of n_kv_heads {}", path,
                          c.n_heads, c.n_kv_heads));
  }
}

}  // namespace

uint64_t Llama2cTensor::elements() const {
  uint64_t product = 1;
  for (const uint64_t extent : shape) product *= extent;
  return product;
}

Llama2cModel::Llama2cModel(const std::string& path) : file_(path) {
  const auto bytes = file_.bytes();
  if (bytes.size() < kLegacyHeader) {
    fail_data(fmt::format("'{}': {} bytes are too few for a llama2.c model", path, bytes.size()));
  }
  int version = 0;
  if (static_cast<uint32_t>(int_at(bytes, 0)) == kMagic) {
    version = int_at(bytes, 4);
    if (version != 1) {
      fail_unsupported(
          fmt::format("'{}' is a llama2.c model of version {}; only the float32 versions 0 and 1 can "
                      "be read",
                      path, version));
    }
    if (bytes.size() < kVersionedHeader) {
      fail_data(fmt::format("'{}': {} bytes are too few for a llama2.c model", path, bytes.size()));
    }
  }
  read_header(version);
  const uint64_t data_begin = version == 0 ? kLegacyHeader : kVersionedHeader;
  const SizeSum expected = data_size(config_, version);
  if (!expected.matches(bytes.size() - data_begin)) {
    fail_data(fmt::format("'{}': {} bytes follow the header, expected {} for its sizes", path,
                          bytes.size() - data_begin, expected.text()));
  }
  list_tensors(version, data_begin);
}

void Llama2cModel::read_header(int version) {
  const auto bytes = file_.bytes();
  const size_t at = version == 0 ? 0 : 8;
  Llama2cConfig& c = config_;
  int64_t* const fields[] = {&c.dim,        &c.hidden_dim, &c.n_layers,   &c.n_heads,
                             &c.n_kv_heads, &c.vocab_size, &c.max_seq_len};
  for (size_t i = 0; i < 7; ++i) *fields[i] = int_at(bytes, at + 4 * i);
  if (version == 0) {
    c.shared_classifier = c.vocab_size > 0;  // a negative size says that the classifier is separate
    if (c.vocab_size < 0) c.vocab_size = -c.vocab_size;
  } else {
    const auto flag = static_cast<int>(bytes[at + 28]);
    if (flag > 1) {
      fail_data(
          fmt::format("'{}': the flag for a shared classifier is {}, expected 0 or 1", file_.path(), flag));
    }
    c.shared_classifier = flag == 1;
  }
  check_config(c, file_.path());
}

void Llama2cModel::list_tensors(int version, uint64_t data_begin) {
  const auto dim = static_cast<uint64_t>(config_.dim), hidden = static_cast<uint64_t>(config_.hidden_dim);
  const auto vocab = static_cast<uint64_t>(config_.vocab_size);
  const auto kv_dim = static_cast<uint64_t>(config_.head_dim() * config_.n_kv_heads);
  uint64_t at = data_begin;
  const auto one = [&](std::string name, std::vector<uint64_t> shape, int64_t heads = 0) {
    tensors_.push_back({std::move(name), std::move(shape), at, heads});
    at += tensors_.back().elements() * sizeof(float);
  };
  const auto each_layer = [&](const char* name, const std::vector<uint64_t>& shape, int64_t heads = 0) {
    for (int64_t i = 0; i < config_.n_layers; ++i)
      one(fmt::format("model.layers.{}.{}.weight", i, name), shape, heads);
  };
  const auto embedding = [&] { one("model.embed_tokens.weight", {vocab, dim}); };
  const auto attention_norms = [&] { each_layer("input_layernorm", {dim}); };
  const auto mlp_norms = [&] { each_layer("post_attention_layernorm", {dim}); };
  const auto final_norm = [&] { one("model.norm.weight", {dim}); };
  const auto attention = [&] {
    each_layer("self_attn.q_proj", {dim, dim}, config_.n_heads);
    each_layer("self_attn.k_proj", {kv_dim, dim}, config_.n_kv_heads);
    each_layer("self_attn.v_proj", {kv_dim, dim});
    each_layer("self_attn.o_proj", {dim, dim});
  };
  const auto mlp = [&] {
    each_layer("mlp.gate_proj", {hidden, dim});
    each_layer("mlp.down_proj", {dim, hidden});
    each_layer("mlp.up_proj", {hidden, dim});
  };
  if (version == 0) {
    embedding();
    attention_norms();
    attention();
    mlp_norms();
    mlp();
    final_norm();
    at += static_cast<uint64_t>(config_.max_seq_len * config_.head_dim()) * sizeof(float);
  } else {
    attention_norms();
    mlp_norms();
    final_norm();
    embedding();
    attention();
    mlp();
  }
  if (!config_.shared_classifier) one("lm_head.weight", {vocab, dim});
}

const Llama2cTensor* Llama2cModel::find(std::string_view name) const {
  const auto found = std::find_if(tensors_.begin(), tensors_.end(),
                                  [&](const Llama2cTensor& tensor) { return tensor.name == name; });
  return found == tensors_.end() ? nullptr : &*found;
}

void Llama2cModel::read(const Llama2cTensor& tensor, std::span<float> out) const {
  if (out.size() != tensor.elements()) {
    fail_data(fmt::format("'{}': tensor '{}' has {} elements, the destination {}", file_.path(), tensor.name,
                          tensor.elements(), out.size()));
  }
  const std::byte* from = file_.bytes().data() + tensor.offset;
  if (tensor.heads == 0) {
    std::memcpy(out.data(), from, out.size_bytes());
    return;
  }
  const uint64_t columns = tensor.shape[1], half = tensor.shape[0] / static_cast<uint64_t>(tensor.heads) / 2;
  for (uint64_t row = 0; row < tensor.shape[0]; ++row) {
    const uint64_t in_head = row % (2 * half), head_start = row - in_head;
    const uint64_t source = head_start + (in_head < half ? 2 * in_head : 2 * (in_head - half) + 1);
    std::memcpy(out.data() + row * columns, from + source * columns * sizeof(float), columns * sizeof(float));
  }
}

}  // namespace octavo
