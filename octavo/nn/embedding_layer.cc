// SPDX-License-Identifier: Apache-2.0
#include "octavo/nn/embedding_layer.h"

#include <algorithm>
#include <cstring>

#include "octavo/base/error.h"
#include "octavo/kernels/embedding.h"
#include "octavo/kernels/loss.h"
#include "octavo/numerics/bf16.h"

namespace octavo {
namespace {

Parameter& add_table(const std::string& name, int64_t rows, const ModelConfig& c, ParameterSet& parameters) {
  Parameter p;
  p.name = name;
  p.rows = rows;
  p.cols = c.width;
  p.layer = Layer::input;
  p.init = Init::normal;
  p.init_std = layer_rule(c, Layer::input, 1).init_std;
  p.decay = true;
  return parameters.add(p);
}

/// One format and no scale, whoever reads it.
OperandUses plain(Format format) {
  RoleSpec spec;
  spec.format = format;
  return {Role::gemm_weight, Role::gemm_weight, Role::gemm_weight, spec, spec};
}

// Weight gradients of the head are summed over row chunks; each chunk reads and writes the whole gradient
// once, so chunks should be large. 128 MiB of logits is a thousand rows of a GPT-2 vocabulary in BF16.
constexpr int64_t kLogitsBytes = int64_t{128} << 20;

ScaledTensor rows_of_payload(const ScaledTensor& t, int64_t first, int64_t count) {
  ScaledTensor part = t;
  part.codes = rows_of(t.codes, first, count);
  if (t.scales && t.granularity.kind == Granularity::row && !t.by_column) part.scales = t.scales + first;
  return part;
}

Operand rows_of_operand(const Operand& t, int64_t first, int64_t count) {
  return {rows_of_payload(t.along, first, count), rows_of_payload(t.across, first, count)};
}

}  // namespace

EmbeddingLayer::EmbeddingLayer(const ModelConfig& config, const Build& build)
    : table_(
          &add_table(config.family == Family::gpt2 ? "transformer.wte.weight" : "model.embed_tokens.weight",
                     config.vocab_size, config, build.parameters)),
      own_(*table_, OperandSlots("embed", plain(build.recipe.wide()), build.scaler, build.purpose)),
      source_(&own_) {
  if (!config.rotary())
    positions_ =
        &add_table(config.family == Family::gpt2 ? "transformer.wpe.weight" : "model.embed_positions.weight",
                   config.context, config, build.parameters);
  if (positions_) positions_->computes_with_master = true;
}

void EmbeddingLayer::forward(Pass& pass, const Batch& batch, Matrix out) const {
  const ConstMatrix positions =
      positions_ ? dense(positions_->value, Format::fp32, positions_->rows, positions_->cols) : Matrix{};
  pass.run(Part::embedding, [&](ThreadPool& pool) {
    embedding_forward(source_->get().along.codes, positions, batch.tokens, batch.positions, out, pool);
  });
}

void EmbeddingLayer::backward(Pass& pass, const Batch& batch, ConstMatrix dout) const {
  const Matrix dtable = dense(table_->grad, Format::fp32, table_->rows, table_->cols);
  const Matrix dpositions =
      positions_ ? dense(positions_->grad, Format::fp32, positions_->rows, positions_->cols) : Matrix{};
  pass.run(Part::embedding, [&](ThreadPool& pool) {
    embedding_backward(dout, batch.tokens, batch.positions, dtable, dpositions, pool);
    table_->grad_squares = -1;
  });
}

Head::Head(const ModelConfig& config, const Build& build, Parameter* tied)
    : config_(config),
      format_(build.recipe.wide()),
      norm_(config.final_norm
                ? std::optional<NormLayer>(std::in_place,
                                           config.family == Family::gpt2 ? "transformer.ln_f" : "model.norm",
                                           config, build.parameters)
                : std::nullopt),
      linear_("lm_head", {config.width, config.vocab_size, false, Layer::output, false}, build, tied),
      input_({"lm_head", linear_.input(), build.scaler, build.purpose}, format_) {}

void Head::plan(Arena& arena, int64_t rows) {
  if (norm_) {
    saved_.plan_input(arena, format_, rows, config_.width);
    saved_.plan_statistics(arena, rows, config_.layer_norm());
  }
  input_.plan(arena, rows, config_.width);
  input_.plan_scales(arena, rows, config_.width);
  input_.plan_forward(arena, rows, config_.width);
  losses_block_ = arena.reserve("activations", static_cast<size_t>(rows) * sizeof(float));
}

void Head::bind(const Arena& arena, int64_t rows) {
  if (norm_) saved_.bind(arena, format_, rows, config_.width);
  input_.bind(arena);
  losses_ = arena.at<float>(losses_block_);
}

void Head::normalize(Pass& pass, ConstMatrix stream, ConstMatrix branch, double skip) {
  if (!norm_) return;
  const WorkspaceScope scope(pass.workspace);
  const SavedOperand::Draft normed = input_.begin(pass, stream.rows);
  norm_->forward(pass, stream, branch, skip, saved_, normed);
  input_.finish(pass, normed);
}

LossSum Head::loss(Pass& pass, const int32_t* targets, int64_t rows, float grad_scale, const Matrix* dstream,
                   float* amax) {
  const WorkspaceScope scope(pass.workspace);
  const Matrix dnormed = !dstream ? Matrix{}
                         : norm_  ? pass.temporary(format_, rows, config_.width)
                                  : *dstream;
  const int64_t chunk = std::clamp<int64_t>(kLogitsBytes / (config_.vocab_size * bytes(format_)), 1, rows);
  for (int64_t first = 0; first < rows; first += chunk) {
    const int64_t count = std::min(chunk, rows - first);
    const WorkspaceScope chunk_scope(pass.workspace);
    const Matrix logits = pass.temporary(format_, count, config_.vocab_size);
    const Operand x = rows_of_operand(input_.get(), first, count);
    linear_.forward(pass, x, logits);
    pass.run(Part::loss, [&](ThreadPool& pool) {
      cross_entropy(logits, targets + first, losses_ + first, dstream != nullptr, grad_scale, pool);
    });
    if (dstream) linear_.backward(pass, logits, nullptr, x, rows_of(dnormed, first, count), false);
  }
  if (dstream && norm_) norm_->backward(pass, dnormed, saved_, 0, *dstream, amax);

  LossSum sum;
  if (pass.planning()) return sum;
  for (int64_t r = 0; r < rows; ++r) {
    if (targets[r] == kIgnoreTarget) continue;
    sum.loss += static_cast<double>(losses_[r]);
    ++sum.tokens;
  }
  return sum;
}

void Head::row_logits(Pass& pass, const int64_t* rows, int64_t count,
                      const std::function<void(int64_t first, ConstMatrix logits)>& sink) {
  if (count == 0) return;
  const ScaledTensor all = input_.get().along;
  const Granularity granularity = all.granularity.kind;
  if (all.scales && granularity != Granularity::tensor && granularity != Granularity::row)
    fail_unsupported("an LM head whose input has scales finer than a row cannot score chosen rows");
  const int64_t chunk = std::clamp<int64_t>(kLogitsBytes / (config_.vocab_size * bytes(format_)), 1, count);
  const size_t row_bytes = static_cast<size_t>(config_.width * bytes(all.codes.format));
  for (int64_t first = 0; first < count; first += chunk) {
    const int64_t part = std::min(chunk, count - first);
    const WorkspaceScope scope(pass.workspace);
    ScaledTensor x = all;  // the chosen rows side by side; a scale of the whole tensor serves them as it is
    x.codes = pass.temporary(all.codes.format, part, config_.width);
    if (all.scales && granularity == Granularity::row)
      x.scales = static_cast<float*>(pass.temporary(Format::fp32, 1, part).data);
    const Matrix logits = pass.temporary(format_, part, config_.vocab_size);
    if (!pass.planning())
      for (int64_t i = 0; i < part; ++i) {
        std::memcpy(x.codes.row(i), all.codes.row(rows[first + i]), row_bytes);
        if (x.scales != all.scales) x.scales[i] = all.scales[rows[first + i]];
      }
    linear_.forward(pass, {x, x}, logits);
    if (!pass.planning()) sink(first, logits);
  }
}

void Head::logits(Pass& pass, const int64_t* rows, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) {
    const WorkspaceScope scope(pass.workspace);
    const Matrix wide = pass.temporary(format_, 1, config_.vocab_size);
    linear_.forward(pass, rows_of_operand(input_.get(), pass.planning() ? 0 : rows[i], 1), wide);
    if (pass.planning()) continue;
    float* to = out + i * config_.vocab_size;
    if (format_ == Format::fp32) {
      std::memcpy(to, wide.data, static_cast<size_t>(config_.vocab_size) * sizeof(float));
    } else {
      const uint16_t* from = static_cast<const uint16_t*>(wide.data);
      for (int64_t v = 0; v < config_.vocab_size; ++v) to[v] = bf16_to_float(from[v]);
    }
  }
}

}  // namespace octavo
