// SPDX-License-Identifier: Apache-2.0
#include "octavo/nn/attention_layer.h"

#include <cmath>
#include <cstring>

#include "octavo/kernels/rope.h"

namespace octavo {

RopeTables RopeTables::make(const ModelConfig& config, int64_t positions) {
  RopeTables tables;
  const int64_t half = config.head_dim / 2;
  tables.cos.resize(static_cast<size_t>(positions * half));
  tables.sin.resize(tables.cos.size());
  for (int64_t i = 0; i < half; ++i) {
    const double frequency =
        std::pow(config.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim));
    for (int64_t t = 0; t < positions; ++t) {
      const double angle = static_cast<double>(t) * frequency;
      tables.cos[static_cast<size_t>(t * half + i)] = static_cast<float>(std::cos(angle));
      tables.sin[static_cast<size_t>(t * half + i)] = static_cast<float>(std::sin(angle));
    }
  }
  return tables;
}

namespace {

std::vector<Linear> make_qkv(const std::string& prefix, const ModelConfig& c, const Build& build) {
  const auto shape = [&](int64_t out) {
    return Linear::Shape{c.width, out, c.biases(), Layer::hidden, c.family == Family::gpt2};
  };
  std::vector<Linear> layers;
  layers.reserve(3);
  if (c.fused_qkv()) {
    layers.emplace_back(prefix + (c.family == Family::gpt2 ? ".c_attn" : ".qkv_proj"), shape(c.qkv_width()),
                        build);
    return layers;
  }
  layers.emplace_back(prefix + ".q_proj", shape(c.q_width()), build);
  layers.emplace_back(prefix + ".k_proj", shape(c.kv_width()), build);
  layers.emplace_back(prefix + ".v_proj", shape(c.kv_width()), build);
  return layers;
}

Linear::Shape out_shape(const ModelConfig& c, double factor) {
  return {c.q_width(), c.width, c.biases(), Layer::into_stream, c.family == Family::gpt2, factor};
}

}  // namespace

AttentionLayer::AttentionLayer(const std::string& prefix, const ModelConfig& config, const Build& build,
                               const RopeTables* rope, double out_factor)
    : prefix_(prefix),
      config_(config),
      activation_(build.recipe.wide()),
      rope_(rope),
      qkv_(make_qkv(prefix, config, build)),
      out_(prefix + (config.family == Family::gpt2 ? ".c_proj" : ".o_proj"), out_shape(config, out_factor),
           build) {}

AttentionSaved AttentionLayer::make_saved(const Build& build) const {
  const std::string input_name = qkv_.size() == 1 ? qkv_[0].name() : prefix_ + ".qkv";
  return {SavedOperand({input_name, qkv_[0].input(), build.scaler, build.purpose}, activation_),
          SavedOperand({out_.name(), out_.input(), build.scaler, build.purpose}, activation_),
          {},
          {},
          nullptr,
          {},
          {},
          {}};
}

void AttentionLayer::plan_input(Arena& arena, AttentionSaved& saved, int64_t rows) const {
  saved.input.plan(arena, rows, config_.width);
}

void AttentionLayer::plan_forward(Arena& arena, AttentionSaved& saved, int64_t rows) const {
  saved.input.plan_forward(arena, rows, config_.width);
  saved.output.plan_forward(arena, rows, config_.q_width());
}

void AttentionLayer::plan(Arena& arena, AttentionSaved& saved, int64_t rows) const {
  const size_t unit = static_cast<size_t>(rows * bytes(activation_));
  saved.input.plan_scales(arena, rows, config_.width);
  saved.output.plan(arena, rows, config_.q_width());
  saved.output.plan_scales(arena, rows, config_.q_width());
  saved.qkv_block = arena.reserve("activations", unit * static_cast<size_t>(config_.qkv_width()));
  if (!saved.output.direct())
    saved.heads_out_block = arena.reserve("activations", unit * static_cast<size_t>(config_.q_width()));
  saved.lse_block = arena.reserve("activations", static_cast<size_t>(rows * config_.heads) * sizeof(float));
}

void AttentionLayer::bind(const Arena& arena, AttentionSaved& saved, int64_t rows) const {
  saved.input.bind(arena);
  saved.output.bind(arena);
  saved.qkv = dense(arena.at<void>(saved.qkv_block), activation_, rows, config_.qkv_width());
  if (saved.heads_out_block.bytes)
    saved.heads_out = dense(arena.at<void>(saved.heads_out_block), activation_, rows, config_.q_width());
  else
    saved.heads_out = {};
  saved.lse = arena.at<float>(saved.lse_block);
}

std::vector<Linear*> AttentionLayer::linears() {
  std::vector<Linear*> all;
  for (Linear& layer : qkv_) all.push_back(&layer);
  all.push_back(&out_);
  return all;
}

AttentionShape AttentionLayer::shape(const Batch& batch) const {
  AttentionShape s;
  s.batch = batch.batch;
  s.q_len = s.kv_len = batch.seq;
  s.heads = config_.heads;
  s.kv_heads = config_.kv_heads;
  s.head_dim = config_.head_dim;
  s.scale = static_cast<float>(attention_scale(config_));
  s.sqrt_softmax = config_.sqrt_softmax;
  return s;
}

void AttentionLayer::rotate(Pass& pass, const Batch& batch, Matrix qkv, bool inverse) const {
  if (!rope_) return;
  // q and k lie side by side, and every head turns alike: one call for both.
  pass.run(Part::attention, [&](ThreadPool& pool) {
    rope(columns_of(qkv, 0, config_.q_width() + config_.kv_width()), config_.heads + config_.kv_heads,
         config_.head_dim, rope_->cos.data(), rope_->sin.data(), batch.positions, inverse, pool);
  });
}

void AttentionLayer::forward(Pass& pass, const Batch& batch, AttentionSaved& saved, KvCache* cache,
                             Matrix y) const {
  const int64_t rows = batch.rows(), q = config_.q_width(), kv = config_.kv_width();
  const Matrix qkv = rows_of(saved.qkv, 0, rows);
  int64_t column = 0;
  for (const Linear& layer : qkv_) {
    const int64_t width = layer.shape().out;
    layer.forward(pass, saved.input.get(), columns_of(qkv, column, width));
    column += width;
  }
  rotate(pass, batch, qkv, false);
  pass.see(prefix_, ".qkv", qkv);

  ConstMatrix k = columns_of(qkv, q, kv), v = columns_of(qkv, q + kv, kv);
  AttentionShape s = shape(batch);
  if (cache) {
    pass.run(Part::attention, [&](ThreadPool&) {
      const size_t row_bytes = static_cast<size_t>(kv * bytes(activation_));
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t to = r / batch.seq * cache->capacity + cache->length + r % batch.seq;
        std::memcpy(cache->k.row(to), k.row(r), row_bytes);
        std::memcpy(cache->v.row(to), v.row(r), row_bytes);
      }
    });
    s.kv_len = cache->length + batch.seq;
    s.kv_batch_stride = cache->capacity;
    k = cache->k;
    v = cache->v;
  }

  const WorkspaceScope scope(pass.workspace);
  const Matrix own = saved.heads_out.data ? rows_of(saved.heads_out, 0, rows) : Matrix{};
  const SavedOperand::Draft draft = saved.output.begin(pass, rows, own);
  pass.attention_forward(s, columns_of(qkv, 0, q), k, v, draft.data, saved.lse, draft.amax);
  pass.see(prefix_, ".heads", draft.data);
  saved.output.finish(pass, draft);
  out_.forward(pass, saved.output.get(), y);
  pass.see(prefix_, ".out", y);
}

QkvGrads AttentionLayer::backward(Pass& pass, const Batch& batch, ConstMatrix dy, const float* amax_dy,
                                  AttentionSaved& saved, Matrix dx, bool accumulate) const {
  const int64_t rows = batch.rows(), q = config_.q_width(), kv = config_.kv_width();
  const Matrix dheads = pass.temporary(activation_, rows, q);
  out_.backward(pass, dy, amax_dy, saved.output.get(), dheads, false);

  const Matrix qkv = rows_of(saved.qkv, 0, rows);
  const Matrix dqkv = pass.temporary(activation_, rows, config_.qkv_width());
  const ConstMatrix heads_out =
      saved.heads_out.data ? rows_of(saved.heads_out, 0, rows) : saved.output.get().across.codes;
  pass.attention_backward(shape(batch), dheads, columns_of(qkv, 0, q), columns_of(qkv, q, kv),
                          columns_of(qkv, q + kv, kv), heads_out, saved.lse, columns_of(dqkv, 0, q),
                          columns_of(dqkv, q, kv), columns_of(dqkv, q + kv, kv));
  rotate(pass, batch, dqkv, true);

  QkvGrads grads;
  int64_t column = 0;
  for (size_t i = 0; i < qkv_.size(); ++i) {
    const int64_t width = qkv_[i].shape().out;
    grads[i] = qkv_[i].grad_codes(pass, columns_of(dqkv, column, width), nullptr);
    qkv_[i].input_grad(pass, grads[i], dx, accumulate || i > 0);
    column += width;
  }
  return grads;
}

void AttentionLayer::weight_grads(Pass& pass, const AttentionSaved& saved, const QkvGrads& grads) const {
  for (size_t i = 0; i < qkv_.size(); ++i) qkv_[i].weight_grad(pass, grads[i], saved.input.get());
}

}  // namespace octavo
