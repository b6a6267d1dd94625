// SPDX-License-Identifier: Apache-2.0
// A block with its norms at the end of the branches (Res-Post-LayerNorm, arXiv:2502.05967). The norm adds its
// result to the stream and, where the scale is known, writes the codes that the next product reads, all in
// one pass. The backward pass needs the branches and those codes, not the stream.
#include <utility>

#include "octavo/kernels/vector.h"
#include "octavo/nn/block_kinds.h"

namespace octavo {

ResPostBlock::ResPostBlock(const std::string& prefix, const Build& build, const RopeTables* rope)
    : Block(prefix, {".post_attention_layernorm", ".post_feedforward_layernorm"}, build, rope) {}

void ResPostBlock::plan(Arena& arena, BlockSaved& saved, int64_t rows, const Kept& kept, bool own) const {
  if (kept.inner == own) {
    // The codes of a stream come first: the block before writes those of the next one.
    plan_inputs(arena, saved, rows);
    saved.norm1.plan_input(arena, format_, rows, config_.width);
    saved.norm2.plan_input(arena, format_, rows, config_.width);
    plan_inner(arena, saved, rows);
  }
  if (kept.hidden == own) mlp_.plan_hidden(arena, saved.mlp, rows);
  if (!own) plan_forward(arena, saved, rows);
  if (own && kept.stream && !kept.inner)
    saved.entry_block =
        arena.reserve("activations", static_cast<size_t>(rows * config_.width * bytes(format_)));
}

void ResPostBlock::add(Pass& pass, const NormLayer& norm, const ResidualFactors& factors, NormSaved& saved,
                       Stream& stream, SavedOperand* next) const {
  const WorkspaceScope scope(pass.workspace);
  const SavedOperand::Draft draft = next ? next->begin_both(pass, stream.sum.rows, stream.scratch)
                                         : SavedOperand::Draft{stream.scratch, nullptr, {}};
  norm.add(pass, stream.sum, factors, saved, draft);
  if (next) next->finish(pass, draft);
  stream.sum = draft.data;
}

void ResPostBlock::forward(Pass& pass, const Batch& batch, Stream& stream, BlockSaved& saved,
                           SavedOperand* next, KvCache* cache) const {
  const int64_t rows = batch.rows();
  if (saved.entry.data)
    pass.run(Part::norm, [&](ThreadPool& pool) { copy(stream.sum, rows_of(saved.entry, 0, rows), pool); });
  pass.see(prefix_, ".in", stream.sum);
  attention_.forward(pass, batch, saved.attention, cache, rows_of(saved.norm1.input, 0, rows));
  add(pass, norm1_, factors1_, saved.norm1, stream, &saved.mlp.input);
  mlp_.forward(pass, saved.mlp, rows_of(saved.norm2.input, 0, rows));
  add(pass, norm2_, factors2_, saved.norm2, stream, next);
}

// Every kernel sees the numbers it saw before, so every bit comes back.
void ResPostBlock::replay(Pass& pass, const Batch& batch, BlockSaved& saved) const {
  std::vector<TensorRecord>* const records = std::exchange(pass.records, nullptr);  // they spoke once already
  const int64_t rows = batch.rows();
  const WorkspaceScope scope(pass.workspace);
  Stream stream;
  stream.sum = rows_of(saved.entry, 0, rows);
  stream.scratch = pass.temporary(format_, rows, config_.width);
  SavedOperand::Draft draft = saved.attention.input.begin(pass, rows, stream.sum);
  if (draft.data.data != stream.sum.data)
    pass.run(Part::norm, [&](ThreadPool& pool) { copy(stream.sum, draft.data, pool); });
  draft.amax = nullptr;
  saved.attention.input.finish(pass, draft);
  const Matrix entry = std::exchange(saved.entry, {});
  forward(pass, batch, stream, saved, nullptr, nullptr);
  saved.entry = entry;
  pass.records = records;
}

void ResPostBlock::backward(Pass& pass, const Batch& batch, BlockSaved& saved, const Kept& kept,
                            Matrix dstream, float* amax) const {
  pass.see(prefix_, ".dout", dstream);
  if (!kept.inner) replay(pass, batch, saved);
  const bool hidden_there = kept.hidden || !kept.inner;  // after a replay the codes are there
  const WorkspaceScope scope(pass.workspace);
  const Matrix dbranch = pass.temporary(format_, dstream.rows, config_.width);
  {
    const WorkspaceScope half(pass.workspace);
    norm2_.add_backward(pass, dstream, saved.norm2, factors2_, dbranch, amax);
    const MlpGrads grads = mlp_.backward(pass, dbranch, amax, saved.mlp, hidden_there, dstream, true);
    mlp_.weight_grads(pass, saved.mlp, grads);
  }
  const WorkspaceScope half(pass.workspace);
  norm1_.add_backward(pass, dstream, saved.norm1, factors1_, dbranch, amax);
  const QkvGrads grads = attention_.backward(pass, batch, dbranch, amax, saved.attention, dstream, true);
  attention_.weight_grads(pass, saved.attention, grads);
}

}  // namespace octavo
