// SPDX-License-Identifier: Apache-2.0
#include "octavo/report/tensor_name.h"

#include <algorithm>
#include <vector>

namespace octavo {
namespace {

std::vector<std::string_view> parts_of(std::string_view name) {
  std::vector<std::string_view> parts;
  for (size_t at = 0; at <= name.size();) {
    const size_t dot = std::min(name.find('.', at), name.size());
    parts.push_back(name.substr(at, dot - at));
    at = dot + 1;
  }
  return parts;
}

bool is_number(std::string_view part) {
  return !part.empty() && part.size() <= 6 &&
         std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

}  // namespace

std::string_view to_string(LayerKind kind) {
  constexpr std::string_view names[] = {"qkv", "attn-out", "ffn-up", "ffn-down", "other"};
  return names[static_cast<size_t>(kind)];
}

std::string_view to_string(TensorClass tensor_class) {
  constexpr std::string_view names[] = {"weights", "activations",   "gradients",      "weight gradients",
                                        "masters", "first moments", "second moments", "other"};
  return names[static_cast<size_t>(tensor_class)];
}

LayerKind layer_kind(std::string_view tensor) {
  const std::vector<std::string_view> parts = parts_of(tensor);
  const std::string_view last = parts.back(), before = parts.size() > 1 ? parts[parts.size() - 2] : "";
  if (is_one_of(last, {"c_attn", "qkv", "qkv_proj", "q_proj", "k_proj", "v_proj"})) return LayerKind::qkv;
  if (last == "o_proj" || (last == "c_proj" && before == "attn")) return LayerKind::attention_out;
  if (is_one_of(last, {"c_fc", "gate_up", "gate_proj", "up_proj"})) return LayerKind::ffn_up;
  if (last == "down_proj" || (last == "c_proj" && before == "mlp")) return LayerKind::ffn_down;
  return LayerKind::other;
}

int layer_index(std::string_view tensor) {
  for (const std::string_view part : parts_of(tensor))
    if (is_number(part)) return std::stoi(std::string(part));
  return -1;
}

std::string short_name(std::string_view tensor, std::string_view role) {
  std::string out(tensor);
  for (const std::string_view part : parts_of(tensor)) {
    const size_t behind = static_cast<size_t>(part.data() + part.size() - tensor.data()) + 1;
    if (!is_number(part) || behind >= tensor.size()) continue;
    out = tensor.substr(behind);
    break;
  }
  const std::vector<std::string_view> use = parts_of(role);
  if (use.size() == 3 || (use.size() == 2 && use.front() == "store")) out += " " + std::string(use[1]);
  return out;
}

TensorClass tensor_class(std::string_view role) {
  const std::vector<std::string_view> parts = parts_of(role);
  if (role == "store.weight_grad") return TensorClass::weight_gradients;
  if (role == "store.master") return TensorClass::masters;
  if (role == "store.moment1") return TensorClass::first_moments;
  if (role == "store.moment2") return TensorClass::second_moments;
  if (parts.front() != "gemm") return TensorClass::other;
  if (parts.back() == "weight") return TensorClass::weights;
  if (parts.back() == "input") return TensorClass::activations;
  if (parts.back() == "grad_output") return TensorClass::gradients;
  return TensorClass::other;
}

}  // namespace octavo
