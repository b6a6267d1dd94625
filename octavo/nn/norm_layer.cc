// SPDX-License-Identifier: Apache-2.0
#include "octavo/nn/norm_layer.h"

namespace octavo {

void NormSaved::plan_input(Arena& arena, Format format, int64_t rows, int64_t width) {
  input_block = arena.reserve("activations", static_cast<size_t>(rows * width * bytes(format)));
}

void NormSaved::plan_statistics(Arena& arena, int64_t rows, bool layer_norm) {
  const size_t vector = static_cast<size_t>(rows) * sizeof(float);
  rstd_block = arena.reserve("activations", vector);
  if (layer_norm) mean_block = arena.reserve("activations", vector);
}

void NormSaved::bind(const Arena& arena, Format format, int64_t rows, int64_t width) {
  input = dense(arena.at<void>(input_block), format, rows, width);
  rstd = arena.at<float>(rstd_block);
  mean = mean_block.bytes ? arena.at<float>(mean_block) : nullptr;
}

NormLayer::NormLayer(const std::string& prefix, const ModelConfig& config, ParameterSet& parameters)
    : kind_(config.layer_norm() ? NormKind::layer : NormKind::rms),
      eps_(static_cast<float>(config.norm_eps)) {
  Parameter gamma;
  gamma.name = prefix + ".weight";
  gamma.cols = config.width;
  gamma.init = Init::ones;
  gamma.computes_with_master = true;
  gamma_ = &parameters.add(gamma);
  if (config.biases()) {
    Parameter beta;
    beta.name = prefix + ".bias";
    beta.cols = config.width;
    beta.computes_with_master = true;
    beta_ = &parameters.add(beta);
  }
}

NormForward NormLayer::forward_args(NormSaved& saved, const SavedOperand::Draft& y) const {
  NormForward args;
  args.kind = kind_;
  args.y = y.data;
  args.codes = y.codes;
  args.gamma = gamma_->value;
  args.beta = beta_ ? beta_->value : nullptr;
  args.mean = saved.mean;
  args.rstd = saved.rstd;
  args.eps = eps_;
  args.amax = y.amax;
  return args;
}

NormBackward NormLayer::backward_args(ConstMatrix dy, const NormSaved& saved) const {
  NormBackward args;
  args.kind = kind_;
  args.dy = dy;
  args.x = rows_of(saved.input, 0, dy.rows);
  args.gamma = gamma_->value;
  args.mean = saved.mean;
  args.rstd = saved.rstd;
  args.dgamma = gamma_->grad;
  args.dbeta = beta_ ? beta_->grad : nullptr;
  args.beta = beta_ ? beta_->value : nullptr;
  return args;
}

void NormLayer::forward(Pass& pass, ConstMatrix stream, ConstMatrix branch, double skip, NormSaved& saved,
                        const SavedOperand::Draft& y) const {
  NormForward args = forward_args(saved, y);
  args.x = stream;
  args.residual = branch;
  args.x_factor = static_cast<float>(skip);
  args.sum = rows_of(saved.input, 0, stream.rows);
  pass.norm_forward(args);
}

void NormLayer::backward(Pass& pass, ConstMatrix dy, const NormSaved& saved, double skip, Matrix dstream,
                         float* amax, const CodesOut& codes) const {
  NormBackward args = backward_args(dy, saved);
  if (skip != 0) args.residual_grad = dstream;
  args.residual_factor = static_cast<float>(skip);
  args.dx = dstream;
  args.amax = amax;
  args.codes = codes;
  pass.norm_backward(args);
}

void NormLayer::add(Pass& pass, ConstMatrix stream, const ResidualFactors& factors, NormSaved& saved,
                    const SavedOperand::Draft& y) const {
  NormForward args = forward_args(saved, y);
  args.x = rows_of(saved.input, 0, stream.rows);
  args.skip = stream;
  args.skip_factor = static_cast<float>(factors.skip);
  args.y_factor = static_cast<float>(factors.branch);
  pass.norm_forward(args);
}

void NormLayer::add_backward(Pass& pass, Matrix dstream, const NormSaved& saved,
                             const ResidualFactors& factors, Matrix dbranch, float* amax) const {
  NormBackward args = backward_args(dstream, saved);
  args.dy_factor = static_cast<float>(factors.branch);
  args.dskip = dstream;
  args.skip_factor = static_cast<float>(factors.skip);
  args.dx = dbranch;
  args.amax = amax;
  pass.norm_backward(args);
}

}  // namespace octavo
