// SPDX-License-Identifier: Apache-2.0
#include "octavo/nn/block.h"

#include <utility>

namespace octavo {
namespace {
bool is_gpt2(const ModelConfig& c) { return c.family == Family::gpt2; }
}  // namespace

Block::Block(const std::string& prefix, const ModelConfig& config, const Build& build, const RopeTables* rope)
    : config_(config),
      format_(build.recipe.wide()),
      norm1_(prefix + (is_gpt2(config) ? ".ln_1" : ".input_layernorm"), config, build.parameters),
      attention_(prefix + (is_gpt2(config) ? ".attn" : ".self_attn"), config, build, rope),
      norm2_(prefix + (is_gpt2(config) ? ".ln_2" : ".post_attention_layernorm"), config, build.parameters),
      mlp_(prefix + ".mlp", config, build) {}

BlockSaved Block::make_saved(const Build& build) const {
  return {{}, {}, attention_.make_saved(build), mlp_.make_saved(build)};
}

void Block::plan(Arena& arena, BlockSaved& saved, int64_t rows, const Kept& kept, bool own) const {
  // Streams come first: blocks that share memory must find those of their neighbours at the same place.
  if (kept.stream == own) saved.norm1.plan_stream(arena, format_, rows, config_.width);
  if (kept.inner == own) {
    saved.norm2.plan_stream(arena, format_, rows, config_.width);
    saved.norm1.plan_statistics(arena, rows, is_gpt2(config_));
    saved.norm2.plan_statistics(arena, rows, is_gpt2(config_));
    attention_.plan(arena, saved.attention, rows);
    mlp_.plan(arena, saved.mlp, rows);
  }
  if (kept.normed == own) {
    attention_.plan_input(arena, saved.attention, rows);
    mlp_.plan_input(arena, saved.mlp, rows);
  }
  if (kept.hidden == own) mlp_.plan_hidden(arena, saved.mlp, rows);
  if (own) return;
  attention_.plan_forward(arena, saved.attention, rows);
  mlp_.plan_forward(arena, saved.mlp, rows);
}

void Block::bind(const Arena& arena, BlockSaved& saved, int64_t rows) const {
  saved.norm1.bind(arena, format_, rows, config_.width);
  saved.norm2.bind(arena, format_, rows, config_.width);
  attention_.bind(arena, saved.attention, rows);
  mlp_.bind(arena, saved.mlp, rows);
}

std::vector<Linear*> Block::linears() {
  std::vector<Linear*> all = attention_.linears();
  for (Linear* layer : mlp_.linears()) all.push_back(layer);
  return all;
}

void Block::normalize(Pass& pass, const NormLayer& norm, ConstMatrix stream, ConstMatrix branch,
                      NormSaved& saved, SavedOperand& input) const {
  const WorkspaceScope scope(pass.workspace);
  const SavedOperand::Draft normed = input.begin(pass, stream.rows);
  norm.forward(pass, stream, branch, saved, normed);
  input.finish(pass, normed);
}

void Block::forward(Pass& pass, const Batch& batch, ConstMatrix stream, ConstMatrix branch_in,
                    BlockSaved& saved, KvCache* cache, Matrix branch) const {
  normalize(pass, norm1_, stream, branch_in, saved.norm1, saved.attention.input);
  attention_.forward(pass, batch, saved.attention, cache, branch);
  normalize(pass, norm2_, rows_of(saved.norm1.stream, 0, batch.rows()), branch, saved.norm2, saved.mlp.input);
  mlp_.forward(pass, saved.mlp, branch);
}

// Every kernel sees the numbers it saw before, so every bit comes back.
void Block::replay(Pass& pass, const Batch& batch, BlockSaved& saved) const {
  std::vector<TensorRecord>* const records = std::exchange(pass.records, nullptr);  // they spoke once already
  const int64_t rows = batch.rows();
  const ConstMatrix stream = rows_of(saved.norm1.stream, 0, rows);
  normalize(pass, norm1_, stream, {}, saved.norm1, saved.attention.input);
  const WorkspaceScope scope(pass.workspace);
  const Matrix branch = pass.temporary(format_, rows, config_.width);
  attention_.forward(pass, batch, saved.attention, nullptr, branch);
  normalize(pass, norm2_, stream, branch, saved.norm2, saved.mlp.input);
  mlp_.forward_inner(pass, saved.mlp, rows);
  pass.records = records;
}

void Block::backward(Pass& pass, const Batch& batch, BlockSaved& saved, const Kept& kept, Matrix dstream,
                     float* amax) const {
  if (!kept.inner) replay(pass, batch, saved);
  // After a replay the codes are there.
  const bool hidden_there = kept.hidden || !kept.inner, normed_there = kept.normed || !kept.inner;
  const auto again = [&](const SavedOperand& input) {
    return normed_there ? CodesOut{} : input.again(dstream.rows);
  };
  const WorkspaceScope scope(pass.workspace);
  const Matrix dnormed = pass.temporary(format_, dstream.rows, config_.width);
  {
    const WorkspaceScope half(pass.workspace);
    const MlpGrads grads = mlp_.backward(pass, dstream, amax, saved.mlp, hidden_there, dnormed);
    norm2_.backward(pass, dnormed, saved.norm2, dstream, true, amax, again(saved.mlp.input));
    mlp_.weight_grads(pass, saved.mlp, grads);
  }
  const WorkspaceScope half(pass.workspace);
  const QkvGrads grads = attention_.backward(pass, batch, dstream, amax, saved.attention, dnormed);
  norm1_.backward(pass, dnormed, saved.norm1, dstream, true, amax, again(saved.attention.input));
  attention_.weight_grads(pass, saved.attention, grads);
}

}  // namespace octavo
