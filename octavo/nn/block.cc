// SPDX-License-Identifier: Apache-2.0
#include "octavo/nn/block.h"

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

void Block::plan(Arena& arena, BlockSaved& saved, int64_t rows) const {
  saved.norm1.plan(arena, format_, rows, config_.width, is_gpt2(config_));
  saved.norm2.plan(arena, format_, rows, config_.width, is_gpt2(config_));
  attention_.plan(arena, saved.attention, rows);
  mlp_.plan(arena, saved.mlp, rows);
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

void Block::forward(Pass& pass, const Batch& batch, ConstMatrix stream, ConstMatrix branch_in,
                    BlockSaved& saved, KvCache* cache, Matrix branch) const {
  const int64_t rows = batch.rows();
  {
    const WorkspaceScope scope(pass.workspace);
    const SavedOperand::Draft normed = saved.attention.input.begin(pass, rows);
    norm1_.forward(pass, stream, branch_in, saved.norm1, normed.data, normed.amax);
    saved.attention.input.finish(pass, normed);
  }
  attention_.forward(pass, batch, saved.attention, cache, branch);
  {
    const WorkspaceScope scope(pass.workspace);
    const SavedOperand::Draft normed = saved.mlp.input.begin(pass, rows);
    norm2_.forward(pass, rows_of(saved.norm1.stream, 0, rows), branch, saved.norm2, normed.data, normed.amax);
    saved.mlp.input.finish(pass, normed);
  }
  mlp_.forward(pass, saved.mlp, branch);
}

void Block::backward(Pass& pass, const Batch& batch, BlockSaved& saved, Matrix dstream, float* amax) const {
  const WorkspaceScope scope(pass.workspace);
  const Matrix dnormed = pass.temporary(format_, dstream.rows, config_.width);
  mlp_.backward(pass, dstream, amax, saved.mlp, dnormed);
  norm2_.backward(pass, dnormed, saved.norm2, dstream, true, amax);
  attention_.backward(pass, batch, dstream, amax, saved.attention, dnormed);
  norm1_.backward(pass, dnormed, saved.norm1, dstream, true, amax);
}

}  // namespace octavo
