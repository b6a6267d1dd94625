// SPDX-License-Identifier: Apache-2.0
// A block with its norms in front of the branches. The branch a half produces is added to the stream by the
// norm that comes next, in the same pass over memory.
#include <utility>

#include "octavo/nn/block_kinds.h"

namespace octavo {

PreNormBlock::PreNormBlock(const std::string& prefix, const Build& build, const RopeTables* rope)
    : Block(prefix,
            build.config.family == Family::gpt2 ? NormNames{".ln_1", ".ln_2"}
                                                : NormNames{".input_layernorm", ".post_attention_layernorm"},
            build, rope) {}

void PreNormBlock::plan(Arena& arena, BlockSaved& saved, int64_t rows, const Kept& kept, bool own) const {
  // Streams come first: blocks that share memory must find those of their neighbours at the same place.
  if (kept.stream == own) saved.norm1.plan_input(arena, format_, rows, config_.width);
  if (kept.inner == own) {
    saved.norm2.plan_input(arena, format_, rows, config_.width);
    plan_inner(arena, saved, rows);
  }
  if (kept.normed == own) plan_inputs(arena, saved, rows);
  if (kept.hidden == own) mlp_.plan_hidden(arena, saved.mlp, rows);
  if (!own) plan_forward(arena, saved, rows);
}

void PreNormBlock::normalize(Pass& pass, const NormLayer& norm, const Stream& stream, NormSaved& saved,
                             SavedOperand& input) const {
  const WorkspaceScope scope(pass.workspace);
  const SavedOperand::Draft normed = input.begin(pass, stream.sum.rows);
  norm.forward(pass, stream.sum, stream.branch, stream.skip, saved, normed);
  input.finish(pass, normed);
}

void PreNormBlock::forward(Pass& pass, const Batch& batch, Stream& stream, BlockSaved& saved, SavedOperand*,
                           KvCache* cache) const {
  const int64_t rows = batch.rows();
  normalize(pass, norm1_, stream, saved.norm1, saved.attention.input);
  pass.see(prefix_, ".in", rows_of(saved.norm1.input, 0, rows));
  attention_.forward(pass, batch, saved.attention, cache, stream.scratch);
  stream = {rows_of(saved.norm1.input, 0, rows), stream.scratch, factors1_.skip, stream.scratch};
  normalize(pass, norm2_, stream, saved.norm2, saved.mlp.input);
  mlp_.forward(pass, saved.mlp, stream.scratch);
  stream = {rows_of(saved.norm2.input, 0, rows), stream.scratch, factors2_.skip, stream.scratch};
}

// Every kernel sees the numbers it saw before, so every bit comes back.
void PreNormBlock::replay(Pass& pass, const Batch& batch, BlockSaved& saved) const {
  std::vector<TensorRecord>* const records = std::exchange(pass.records, nullptr);  // they spoke once already
  const int64_t rows = batch.rows();
  const Matrix sum = rows_of(saved.norm1.input, 0, rows);
  normalize(pass, norm1_, {sum, {}, 1, {}}, saved.norm1, saved.attention.input);
  const WorkspaceScope scope(pass.workspace);
  const Matrix branch = pass.temporary(format_, rows, config_.width);
  attention_.forward(pass, batch, saved.attention, nullptr, branch);
  normalize(pass, norm2_, {sum, branch, factors1_.skip, {}}, saved.norm2, saved.mlp.input);
  mlp_.forward_inner(pass, saved.mlp, rows);
  pass.records = records;
}

void PreNormBlock::backward(Pass& pass, const Batch& batch, BlockSaved& saved, const Kept& kept,
                            Matrix dstream, float* amax) const {
  pass.see(prefix_, ".dout", dstream);
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
    const MlpGrads grads = mlp_.backward(pass, dstream, amax, saved.mlp, hidden_there, dnormed, false);
    norm2_.backward(pass, dnormed, saved.norm2, factors2_.skip, dstream, amax, again(saved.mlp.input));
    mlp_.weight_grads(pass, saved.mlp, grads);
  }
  const WorkspaceScope half(pass.workspace);
  const QkvGrads grads = attention_.backward(pass, batch, dstream, amax, saved.attention, dnormed, false);
  norm1_.backward(pass, dnormed, saved.norm1, factors1_.skip, dstream, amax, again(saved.attention.input));
  attention_.weight_grads(pass, saved.attention, grads);
}

}  // namespace octavo
