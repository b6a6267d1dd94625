// SPDX-License-Identifier: Apache-2.0
#include "octavo/nn/norm_layer.h"

namespace octavo {

void NormSaved::plan_stream(Arena& arena, Format format, int64_t rows, int64_t width) {
  stream_block = arena.reserve("activations", static_cast<size_t>(rows * width * bytes(format)));
}

void NormSaved::plan_statistics(Arena& arena, int64_t rows, bool layer_norm) {
  const size_t vector = static_cast<size_t>(rows) * sizeof(float);
  rstd_block = arena.reserve("activations", vector);
  if (layer_norm) mean_block = arena.reserve("activations", vector);
}

void NormSaved::bind(const Arena& arena, Format format, int64_t rows, int64_t width) {
  stream = dense(arena.at<void>(stream_block), format, rows, width);
  rstd = arena.at<float>(rstd_block);
  mean = mean_block.bytes ? arena.at<float>(mean_block) : nullptr;
}

NormLayer::NormLayer(const std::string& prefix, const ModelConfig& config, ParameterSet& parameters)
    : kind_(config.family == Family::gpt2 ? NormKind::layer : NormKind::rms),
      eps_(static_cast<float>(config.norm_eps)) {
  Parameter gamma;
  gamma.name = prefix + ".weight";
  gamma.cols = config.width;
  gamma.init = Init::ones;
  gamma_ = &parameters.add(gamma);
  if (kind_ == NormKind::layer) {
    Parameter beta;
    beta.name = prefix + ".bias";
    beta.cols = config.width;
    beta_ = &parameters.add(beta);
  }
}

void NormLayer::forward(Pass& pass, ConstMatrix stream, ConstMatrix branch, NormSaved& saved,
                        const SavedOperand::Draft& y) const {
  NormForward args;
  args.kind = kind_;
  args.x = stream;
  args.residual = branch;
  args.sum = rows_of(saved.stream, 0, stream.rows);
  args.y = y.data;
  args.codes = y.codes;
  args.gamma = gamma_->value;
  args.beta = beta_ ? beta_->value : nullptr;
  args.mean = saved.mean;
  args.rstd = saved.rstd;
  args.eps = eps_;
  args.amax = y.amax;
  pass.norm_forward(args);
}

void NormLayer::backward(Pass& pass, ConstMatrix dy, const NormSaved& saved, Matrix dstream, bool accumulate,
                         float* amax, const CodesOut& codes) const {
  NormBackward args;
  args.kind = kind_;
  args.dy = dy;
  args.x = rows_of(saved.stream, 0, dy.rows);
  args.gamma = gamma_->value;
  args.mean = saved.mean;
  args.rstd = saved.rstd;
  if (accumulate) args.residual_grad = dstream;
  args.dx = dstream;
  args.amax = amax;
  args.dgamma = gamma_->grad;
  args.dbeta = beta_ ? beta_->grad : nullptr;
  args.codes = codes;
  args.beta = beta_ ? beta_->value : nullptr;
  pass.norm_backward(args);
}

}  // namespace octavo
