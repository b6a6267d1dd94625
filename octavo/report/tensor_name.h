// SPDX-License-Identifier: Apache-2.0
// Where a tensor sits in a transformer, from its Hugging Face name and its role. A name that says nothing
// known lands in `other` and is shown under its own name.
#pragma once
#include <array>
#include <string>
#include <string_view>

namespace octavo {

/// The types of linear layers, in the order of a block.
enum class LayerKind { qkv, attention_out, ffn_up, ffn_down, other };
inline constexpr std::array kLayerKinds{LayerKind::qkv, LayerKind::attention_out, LayerKind::ffn_up,
                                        LayerKind::ffn_down, LayerKind::other};
/// Operands of products, and what is kept between steps.
enum class TensorClass {
  weights,
  activations,
  gradients,
  weight_gradients,
  masters,
  first_moments,
  second_moments,
  other
};
inline constexpr std::array kTensorClasses{TensorClass::weights,        TensorClass::activations,
                                           TensorClass::gradients,      TensorClass::weight_gradients,
                                           TensorClass::masters,        TensorClass::first_moments,
                                           TensorClass::second_moments, TensorClass::other};

/// "qkv", "attn-out", "ffn-up", "ffn-down", "other".
std::string_view to_string(LayerKind kind);
/// "weights", "activations", "gradients", "weight gradients", "masters", "first moments", ...
std::string_view to_string(TensorClass tensor_class);

/// From "transformer.h.3.attn.c_attn", "model.layers.3.mlp.gate_up", ...
LayerKind layer_kind(std::string_view tensor);
/// The first part of a name that is a number; -1 without one.
int layer_index(std::string_view tensor);
/// The name behind that number: "attn.c_attn"; the whole name without one. Where a tensor has codes of their
/// own for each use, with the product of `role` ("gemm.wgrad.input"): "attn.c_attn wgrad"; of state, with
/// what it is ("store.moment1"): "attn.c_attn moment1".
std::string short_name(std::string_view tensor, std::string_view role = "");
/// From "gemm.weight", "gemm.fprop.input", "gemm.grad_output", ...
TensorClass tensor_class(std::string_view role);

}  // namespace octavo
