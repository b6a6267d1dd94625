// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "octavo/base/thread_pool.h"
#include "octavo/kernels/quantize.h"
#include "octavo/tensor/matrix.h"

namespace octavo {

/// gelu_tanh is GPT-2's approximation (Hugging Face "gelu_new"), gelu the exact erf form, silu x *
/// sigmoid(x).
enum class Activation { gelu_tanh, gelu, relu, silu };

/// y = act(x), or act(x) * up with a gate (SwiGLU: silu). fp32 or bf16. `amax`: max |y| as stored, or none.
void activation_forward(Activation kind, ConstMatrix x, ConstMatrix up, Matrix y, float* amax,
                        ThreadPool& pool);
/// The codes of y, which itself (in x's format) never reaches memory. For scales that are known beforehand.
/// `amax`: max |y|, or none.
void activation_quantize(Activation kind, ConstMatrix x, ConstMatrix up, const CodesOut& codes, float* amax,
                         ThreadPool& pool);
/// dx (and dup where up.data) from dy. dx may alias dy or x; dup may alias up. `amax_dx`, `amax_dup`: max of
/// each as stored, or none. `codes`: those of the forward pass again, to the same bits, if wanted: x and up
/// are read anyway, so they need not be kept.
void activation_backward(Activation kind, ConstMatrix dy, ConstMatrix x, ConstMatrix up, Matrix dx,
                         Matrix dup, float* amax_dx, float* amax_dup, const CodesOut& codes,
                         ThreadPool& pool);

}  // namespace octavo
