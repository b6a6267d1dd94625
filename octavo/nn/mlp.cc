// SPDX-License-Identifier: Apache-2.0
#include "octavo/nn/mlp.h"

#include <cmath>

#include "octavo/nn/attention_layer.h"

namespace octavo {
namespace {

std::vector<Linear> make_in(const std::string& prefix, const ModelConfig& c, const Build& build) {
  const Linear::Shape shape{c.width, c.ffn, c.biases(), Layer::hidden, c.family == Family::gpt2};
  std::vector<Linear> layers;
  layers.reserve(2);
  if (c.gated()) layers.emplace_back(prefix + ".gate_proj", shape, build);
  layers.emplace_back(prefix + (c.family == Family::gpt2 ? ".c_fc" : ".up_proj"), shape, build);
  return layers;
}

Linear::Shape down_shape(const ModelConfig& c, double factor) {
  return {c.ffn, c.width, c.biases(), Layer::into_stream, c.family == Family::gpt2, factor};
}

}  // namespace

Mlp::Mlp(const std::string& prefix, const ModelConfig& config, const Build& build, double out_factor)
    : prefix_(prefix),
      format_(build.recipe.wide()),
      activation_(config.activation),
      width_(config.width),
      ffn_(config.ffn),
      in_(make_in(prefix, config, build)),
      down_(prefix + (config.family == Family::gpt2 ? ".c_proj" : ".down_proj"),
            down_shape(config, out_factor), build) {}

MlpSaved Mlp::make_saved(const Build& build) const {
  const std::string input_name = in_.size() == 1 ? in_[0].name() : prefix_ + ".gate_up";
  return {SavedOperand({input_name, in_[0].input(), build.scaler, build.purpose}, format_),
          SavedOperand({down_.name(), down_.input(), build.scaler, build.purpose}, format_),
          {},
          {}};
}

void Mlp::plan_input(Arena& arena, MlpSaved& saved, int64_t rows) const {
  saved.input.plan(arena, rows, width_);
}

void Mlp::plan_hidden(Arena& arena, MlpSaved& saved, int64_t rows) const {
  saved.hidden.plan(arena, rows, ffn_);
}

void Mlp::plan_forward(Arena& arena, MlpSaved& saved, int64_t rows) const {
  saved.input.plan_forward(arena, rows, width_);
  saved.hidden.plan_forward(arena, rows, ffn_);
}

void Mlp::plan(Arena& arena, MlpSaved& saved, int64_t rows) const {
  const int64_t columns = ffn_ * static_cast<int64_t>(in_.size());
  saved.input.plan_scales(arena, rows, width_);
  saved.hidden.plan_scales(arena, rows, ffn_);
  saved.pre_block = arena.reserve("activations", static_cast<size_t>(rows * columns * bytes(format_)));
}

void Mlp::bind(const Arena& arena, MlpSaved& saved, int64_t rows) const {
  saved.input.bind(arena);
  saved.hidden.bind(arena);
  saved.pre = dense(arena.at<void>(saved.pre_block), format_, rows, ffn_ * static_cast<int64_t>(in_.size()));
}

std::vector<Linear*> Mlp::linears() {
  std::vector<Linear*> all;
  for (Linear& layer : in_) all.push_back(&layer);
  all.push_back(&down_);
  return all;
}

void Mlp::activate(Pass& pass, MlpSaved& saved, int64_t rows) const {
  const Matrix pre = rows_of(saved.pre, 0, rows);
  const WorkspaceScope scope(pass.workspace);
  const SavedOperand::Draft hidden = saved.hidden.begin(pass, rows);
  const ConstMatrix gate = columns_of(pre, 0, ffn_);
  const ConstMatrix up = in_.size() == 2 ? columns_of(pre, ffn_, ffn_) : Matrix{};
  pass.run(Part::activation, [&](ThreadPool& pool) {
    if (hidden.data.data)
      activation_forward(activation_, gate, up, hidden.data, hidden.amax, pool);
    else
      activation_quantize(activation_, gate, up, hidden.codes, hidden.amax, pool);
  });
  if (hidden.data.data) pass.see(prefix_, ".hidden", hidden.data);
  saved.hidden.finish(pass, hidden);
}

void Mlp::forward_inner(Pass& pass, MlpSaved& saved, int64_t rows) const {
  const Matrix pre = rows_of(saved.pre, 0, rows);
  for (size_t i = 0; i < in_.size(); ++i)
    in_[i].forward(pass, saved.input.get(), columns_of(pre, static_cast<int64_t>(i) * ffn_, ffn_));
  pass.see(prefix_, ".pre", pre);
  activate(pass, saved, rows);
}

void Mlp::forward(Pass& pass, MlpSaved& saved, Matrix y) const {
  forward_inner(pass, saved, y.rows);
  down_.forward(pass, saved.hidden.get(), y);
  pass.see(prefix_, ".out", y);
}

MlpGrads Mlp::backward(Pass& pass, ConstMatrix dy, const float* amax_dy, MlpSaved& saved, bool hidden_kept,
                       Matrix dx, bool accumulate) const {
  const Matrix dhidden = pass.temporary(format_, dy.rows, ffn_);
  const Operand dy_codes = down_.grad_codes(pass, dy, amax_dy);
  down_.input_grad(pass, dy_codes, dhidden, false);

  const Matrix pre = rows_of(saved.pre, 0, dy.rows);
  const bool gated = in_.size() == 2;
  const ConstMatrix gate = columns_of(pre, 0, ffn_);
  const ConstMatrix up = gated ? columns_of(pre, ffn_, ffn_) : Matrix{};
  // The gradient of the gate takes the place of the hidden gradient; that of `up` needs room of its own.
  const Matrix dup = gated ? pass.temporary(format_, dy.rows, ffn_) : Matrix{};
  float* amax_gate = in_[0].wants_grad_amax() ? pass.new_amax() : nullptr;
  float* amax_up = gated && in_[1].wants_grad_amax() ? pass.new_amax() : nullptr;
  const CodesOut hidden = hidden_kept ? CodesOut{} : saved.hidden.again(dy.rows);
  pass.run(Part::activation, [&](ThreadPool& pool) {
    activation_backward(activation_, dhidden, gate, up, dhidden, dup, amax_gate, amax_up, hidden, pool);
  });
  down_.weight_grad(pass, dy_codes, saved.hidden.get());

  MlpGrads grads;
  grads[0] = in_[0].grad_codes(pass, dhidden, amax_gate);
  in_[0].input_grad(pass, grads[0], dx, accumulate);
  if (!gated) return grads;
  grads[1] = in_[1].grad_codes(pass, dup, amax_up);
  in_[1].input_grad(pass, grads[1], dx, true);
  return grads;
}

void Mlp::weight_grads(Pass& pass, const MlpSaved& saved, const MlpGrads& grads) const {
  for (size_t i = 0; i < in_.size(); ++i) in_[i].weight_grad(pass, grads[i], saved.input.get());
}

}  // namespace octavo
