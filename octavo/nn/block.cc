// SPDX-License-Identifier: Apache-2.0
#include "octavo/nn/block.h"

#include "octavo/nn/block_kinds.h"

namespace octavo {
namespace {

ResidualFactors factors_of(const Build& build, int half) {
  return residual_factors(build.config, 2 * build.block + half);
}
/// A norm at the end of a branch multiplies it; in front of a branch, the last product has to.
double out_factor(const Build& build, int half) {
  return build.config.placement == NormPlacement::pre ? factors_of(build, half).branch : 1;
}

}  // namespace

std::unique_ptr<Block> Block::make(const std::string& prefix, const Build& build, const RopeTables* rope) {
  if (build.config.placement == NormPlacement::pre)
    return std::make_unique<PreNormBlock>(prefix, build, rope);
  return std::make_unique<ResPostBlock>(prefix, build, rope);
}

Block::Block(const std::string& prefix, const NormNames& norms, const Build& build, const RopeTables* rope)
    : prefix_(prefix),
      config_(build.config),
      format_(build.recipe.wide()),
      factors1_(factors_of(build, 0)),
      factors2_(factors_of(build, 1)),
      norm1_(prefix + norms.first, build.config, build.parameters),
      attention_(prefix + (build.config.family == Family::gpt2 ? ".attn" : ".self_attn"), build.config, build,
                 rope, out_factor(build, 0)),
      norm2_(prefix + norms.second, build.config, build.parameters),
      mlp_(prefix + ".mlp", build.config, build, out_factor(build, 1)) {}

BlockSaved Block::make_saved(const Build& build) const {
  return {{}, {}, attention_.make_saved(build), mlp_.make_saved(build), {}, {}};
}

void Block::plan_inner(Arena& arena, BlockSaved& saved, int64_t rows) const {
  saved.norm1.plan_statistics(arena, rows, config_.layer_norm());
  saved.norm2.plan_statistics(arena, rows, config_.layer_norm());
  attention_.plan(arena, saved.attention, rows);
  mlp_.plan(arena, saved.mlp, rows);
}

void Block::plan_inputs(Arena& arena, BlockSaved& saved, int64_t rows) const {
  attention_.plan_input(arena, saved.attention, rows);
  mlp_.plan_input(arena, saved.mlp, rows);
}

void Block::plan_forward(Arena& arena, BlockSaved& saved, int64_t rows) const {
  attention_.plan_forward(arena, saved.attention, rows);
  mlp_.plan_forward(arena, saved.mlp, rows);
}

void Block::bind(const Arena& arena, BlockSaved& saved, int64_t rows) const {
  saved.norm1.bind(arena, format_, rows, config_.width);
  saved.norm2.bind(arena, format_, rows, config_.width);
  attention_.bind(arena, saved.attention, rows);
  mlp_.bind(arena, saved.mlp, rows);
  saved.entry = saved.entry_block.bytes
                    ? dense(arena.at<void>(saved.entry_block), format_, rows, config_.width)
                    : Matrix{};
}

std::vector<Linear*> Block::linears() {
  std::vector<Linear*> all = attention_.linears();
  for (Linear* layer : mlp_.linears()) all.push_back(layer);
  return all;
}

}  // namespace octavo
