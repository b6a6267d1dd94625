// SPDX-License-Identifier: Apache-2.0
#include "octavo/nn/transformer.h"

#include <fmt/format.h>

#include <algorithm>

#include "octavo/base/error.h"
#include "octavo/recipe/recipe_file.h"

namespace octavo {

Transformer::Transformer(const ModelConfig& config, const Recipe& recipe, Purpose purpose, ThreadPool& pool)
    : config_(config), recipe_(recipe), purpose_(purpose), pool_(pool) {
  std::vector<std::string> reasons = unsupported(recipe);
  if (recipe.needs_unit_scaled_model() && !keeps_unit_scale(config_))
    reasons.push_back(fmt::format(
        "static scaling casts tensors as they are, which needs a model that keeps them near unit variance: "
        "model.scheme munit, umup or unit, not {}{}",
        to_string(config_.family),
        config_.family == Family::octavo ? fmt::format(" with scheme {}", to_string(config_.scheme)) : ""));
  if (!reasons.empty()) fail_unsupported(fmt::format("recipe {}: {}", recipe.name, reasons.front()));

  const int blocks = static_cast<int>(config_.layers);
  const Build outside{config_, recipe_, scaler_, parameters_, purpose_, -1, blocks};
  embedding_ = std::make_unique<EmbeddingLayer>(config_, outside);
  blocks_.reserve(static_cast<size_t>(blocks));
  const std::string prefix = config_.family == Family::gpt2 ? "transformer.h." : "model.layers.";
  for (int i = 0; i < blocks; ++i) {
    const Build inside{config_, recipe_, scaler_, parameters_, purpose_, i, blocks};
    block_parameters_.push_back(parameters_.all().size());
    blocks_.push_back(Block::make(prefix + std::to_string(i), inside, config_.rotary() ? &rope_ : nullptr));
    saved_.push_back(blocks_.back()->make_saved(inside));
  }
  block_parameters_.push_back(parameters_.all().size());
  head_ = std::make_unique<Head>(config_, outside, config_.tied_head ? &embedding_->table() : nullptr);
  for (size_t group = 1; group <= block_parameters_.size(); ++group)
    for (size_t i = block_parameters_[group - 1]; i < parameters_.all().size(); ++i)
      parameters_.all()[i].group = static_cast<int>(group);
  if (config_.tied_head && head_->linear().weight().format() == recipe_.wide())
    embedding_->read_from(head_->linear().weight());
  for (const Parameter& p : parameters_.all()) weights_of_[&p];
  for (Weight* weight : weights()) weights_of_[weight->parameter].push_back(weight);
}

std::vector<Weight*> Transformer::weights() {
  std::vector<Weight*> all;
  if (!embedding_->shares()) all.push_back(&embedding_->own());
  for (const auto& block : blocks_)
    for (Linear* linear : block->linears()) all.push_back(&linear->weight());
  all.push_back(&head_->linear().weight());
  return all;
}

void Transformer::reserve(const Limits& limits) {
  limits_ = limits;
  if (purpose_ == Purpose::inference)
    limits_.kept = {false, false, false, false};
  else
    limits_.exact = true;
  arena_ = Arena();
  cache_blocks_.clear();
  const int64_t rows = limits.batch * limits.seq;
  std::vector<const Parameter*> copied;  // matrices whose master inference can do without
  for (Weight* weight : weights())
    if (!weight->reads_master()) copied.push_back(weight->parameter);
  for (Weight* weight : weights())
    if (weight->reads_master()) std::erase(copied, weight->parameter);
  if (purpose_ == Purpose::training)
    parameters_.plan(arena_, limits_.state);
  else
    parameters_.plan_masters(arena_, [&](const Parameter& p) {
      return std::find(copied.begin(), copied.end(), &p) == copied.end();
    });
  if (purpose_ == Purpose::training && limits_.state.sharded_weights) {
    for (Weight* weight : weights()) {
      if (in_block(*weight))
        weight->plan_shard(arena_);
      else
        weight->plan(arena_);
    }
    // Two regions in turn: one is filled for the next block while the other is computed with.
    for (const size_t turn : {size_t{0}, size_t{1}})
      arena_.overlap(blocks_.size(), [&](size_t i) {
        if (i % 2 != turn) return;
        for (Linear* linear : blocks_[i]->linears()) linear->weight().plan_shared(arena_);
      });
  } else {
    for (Weight* weight : weights()) weight->plan(arena_);
  }
  if (limits_.pack_weights) {
    for (const auto& block : blocks_)
      for (Linear* linear : block->linears()) linear->plan_packed(arena_, purpose_ == Purpose::training);
    head_->linear().plan_packed(arena_, purpose_ == Purpose::training);
  }
  for (size_t i = 0; i < saved_.size(); ++i) blocks_[i]->plan(arena_, saved_[i], rows, limits_.kept, true);
  arena_.overlap(saved_.size(),
                 [&](size_t i) { blocks_[i]->plan(arena_, saved_[i], rows, limits_.kept, false); });
  head_->plan(arena_, rows);
  branch_block_ =
      arena_.reserve("activations", static_cast<size_t>(rows * config_.width * bytes(recipe_.wide())));
  positions_block_ = arena_.reserve("activations", static_cast<size_t>(rows) * sizeof(int32_t));
  if (purpose_ == Purpose::inference) {
    logits_block_ =
        arena_.reserve("activations", static_cast<size_t>(limits.batch * config_.vocab_size) * sizeof(float));
    const size_t cache_bytes =
        static_cast<size_t>(limits.batch * limits.cache * config_.kv_width() * bytes(recipe_.wide()));
    for (int64_t i = 0; limits.cache > 0 && i < config_.layers; ++i)
      cache_blocks_.emplace_back(arena_.reserve("kv cache", cache_bytes),
                                 arena_.reserve("kv cache", cache_bytes));
  }
}

void Transformer::bind() {
  const int64_t rows = limits_.batch * limits_.seq;
  parameters_.bind(arena_);
  for (Weight* weight : weights()) weight->bind(arena_);
  for (size_t i = 0; i < saved_.size(); ++i) blocks_[i]->bind(arena_, saved_[i], rows);
  head_->bind(arena_, rows);
  branch_ = dense(arena_.at<void>(branch_block_), recipe_.wide(), rows, config_.width);
  cache_.clear();
  for (const auto& [k, v] : cache_blocks_) {
    const int64_t cache_rows = limits_.batch * limits_.cache;
    cache_.push_back({dense(arena_.at<void>(k), recipe_.wide(), cache_rows, config_.kv_width()),
                      dense(arena_.at<void>(v), recipe_.wide(), cache_rows, config_.kv_width()),
                      limits_.cache, 0});
  }
}

void Transformer::rehearse() {
  workspace_ = Workspace();
  pass_ = std::make_unique<Pass>(pool_, workspace_, scaler_);
  pass_->exact = limits_.exact;
  bind();
  for (Weight* weight : weights()) weight->refresh(*pass_);
  Batch batch{limits_.batch, limits_.seq, nullptr, nullptr};
  if (purpose_ == Purpose::training) {
    train(batch, nullptr, 1.0f);
  } else {
    // A full pass, one token after a full cache, and the few tokens of a short text or piece: whichever needs
    // more scratch. What a GEMM takes does not simply grow with its rows.
    forward(batch, false);
    head_->loss(*pass_, nullptr, batch.rows(), 1.0f, nullptr, nullptr);
    if (!cache_.empty()) {
      for (KvCache& cache : cache_) cache.length = limits_.cache - limits_.seq;
      forward(batch, true);
      for (KvCache& cache : cache_) cache.length = limits_.cache - 1;
      forward({limits_.batch, 1, nullptr, nullptr}, true);
    }
    constexpr int64_t kFewTokens = 64;
    for (KvCache& cache : cache_) cache.length = 0;
    for (int64_t few = 1; few < std::min(kFewTokens, limits_.seq); ++few)
      forward({limits_.batch, few, nullptr, nullptr}, !cache_.empty());
    head_->row_logits(*pass_, nullptr, batch.rows(), {});
    head_->logits(*pass_, nullptr, limits_.batch, nullptr);
  }
  workspace_bytes_ = workspace_.high_water();
}

const Arena& Transformer::plan(const Limits& limits) {
  if (limits.seq > config_.context)
    fail_usage(fmt::format("sequence length {} is more than the model's context of {}", limits.seq,
                           config_.context));
  if (limits.cache > config_.context)
    fail_usage(fmt::format("a cache of {} rows is more than the model's context of {}", limits.cache,
                           config_.context));
  const auto once = [&](Role use) {
    const RoleSpec& input = recipe_.role(use);
    return input.scaling.kind == ScalingKind::delayed || input.rounding == Rounding::stochastic;
  };
  if (purpose_ == Purpose::training && !limits.kept.inner &&
      (once(Role::gemm_fprop_input) || once(Role::gemm_wgrad_input)))
    fail_unsupported(fmt::format(
        "recipe {}: delayed scaling and stochastic rounding of gemm.input cannot be computed again to "
        "the same bits; leave `block` out of train.recompute",
        recipe_.name));
  reserve(limits);
  rehearse();
  workspace_block_ = arena_.reserve("workspace", workspace_bytes_);
  return arena_;
}

void Transformer::allocate(const Limits& limits) {
  plan(limits);
  arena_.commit();
  if (config_.rotary()) rope_ = RopeTables::make(config_, std::max(limits.seq, limits.cache));
  bind();
  workspace_ = Workspace(arena_.at<void>(workspace_block_), workspace_bytes_);
}

void Transformer::initialize(uint64_t seed) {
  parameters_.initialize(seed, scaler_, pool_);
  refresh_weights();
}

void Transformer::initialize_for_inference(uint64_t seed) {
  std::vector<float> values;
  for (Parameter& p : parameters_.all()) {
    values.resize(static_cast<size_t>(p.size()));
    parameters_.initial_values(p, seed, values.data(), pool_);
    set_parameter(p, values.data());
  }
}

int64_t Transformer::weight_bytes() {
  int64_t total = 0;
  for (Weight* weight : weights()) total += weight->parameter->size() * bytes(weight->format());
  if (!embedding_->shares())
    total -= embedding_->table().size() * bytes(recipe_.wide());  // a lookup reads one row
  return total;
}

void Transformer::set_parameter(Parameter& parameter, const float* values, bool as_saved) {
  StateTensor& master = parameter.master;
  parameter.amax = -1;
  if (master.at.data) {
    const float* const part = values + master.part.first;
    if (as_saved)
      restore(master, part, scaler_, pool_);
    else
      store(master, part, std::nullopt, scaler_, pass_->seed, pool_);
  }
  // Of the master where there is one, which may have rounded the values.
  for (Weight* weight : weights()) {
    if (weight->parameter != &parameter) continue;
    if (parameter.has_whole_master())
      weight->refresh(*pass_);
    else
      weight->refresh_from(*pass_, dense(values, Format::fp32, parameter.rows, parameter.cols), 1, nullptr);
  }
}

// Stochastic rounding draws by the number of quantizations so far in the step. Weights have numbers of their
// own, so that a restored model can draw the same again whatever the step did before.
constexpr uint64_t kWeightDraws = uint64_t{1} << 40;

template <class Fn>
void Transformer::for_each_weight(Fn fn) {
  uint64_t draws = kWeightDraws;
  for (Weight* weight : weights()) {
    pass_->quantizations = draws;  // whichever weights are left to other ranks
    draws += 4;
    fn(*weight);
  }
}

void Transformer::refresh_weights() {
  refresh_divided_weights();
  refresh_whole_weights();
}

void Transformer::refresh_divided_weights() {
  for_each_weight([&](Weight& weight) {
    if (weight.parameter->divided) weight.refresh_part(*pass_);
  });
}

void Transformer::refresh_whole_weights() {
  for_each_weight([&](Weight& weight) {
    if (!weight.parameter->divided) weight.refresh(*pass_);
  });
}

void Transformer::requantize_weights() {
  for_each_weight([&](Weight& weight) {
    if (weight.parameter->has_whole_master())
      weight.requantize(*pass_);
    else
      weight.refresh_part(*pass_);  // whose scales need no history
  });
}

bool Transformer::in_block(const Weight& weight) const {
  const int group = weight.parameter->group;
  return group > 0 && group <= static_cast<int>(blocks_.size());
}

void Transformer::before_block(int block, int next) {
  if (pass_->before_block && !pass_->planning()) pass_->before_block(block, next);
}

Stream Transformer::embed(const Batch& batch) {
  const int64_t rows = batch.rows();
  Stream stream;
  stream.scratch = rows_of(branch_, 0, rows);
  if (config_.placement == NormPlacement::pre) {
    stream.sum = rows_of(saved_[0].norm1.input, 0, rows);
    embedding_->forward(*pass_, batch, stream.sum);
    return stream;
  }
  SavedOperand& first = saved_[0].attention.input;
  const WorkspaceScope scope(workspace_);
  SavedOperand::Draft draft = first.begin(*pass_, rows, stream.scratch);
  draft.amax = nullptr;  // lookups do not find it
  embedding_->forward(*pass_, batch, draft.data);
  first.finish(*pass_, draft);
  stream.sum = draft.data;
  return stream;
}

void Transformer::forward(const Batch& batch, bool cached) {
  Stream stream = embed(batch);
  const bool post = config_.placement == NormPlacement::res_post;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const bool last = i + 1 == blocks_.size();
    SavedOperand* const next = !post ? nullptr : last ? head_->input() : &saved_[i + 1].attention.input;
    if (post && last && !next) stream.scratch = head_->norm_input(batch.rows());
    before_block(static_cast<int>(i), last ? -1 : static_cast<int>(i) + 1);
    blocks_[i]->forward(*pass_, batch, stream, saved_[i], next, cached ? &cache_[i] : nullptr);
  }
  head_->normalize(*pass_, stream.sum, stream.branch, stream.skip);
}

LossSum Transformer::train(const Batch& batch, const int32_t* targets, float grad_scale) {
  forward(batch, false);
  const WorkspaceScope scope(workspace_);
  const Matrix dstream = pass_->temporary(recipe_.wide(), batch.rows(), config_.width);
  // Who writes the gradient of the stream also finds its largest value, for those who quantize it next.
  const bool wanted =
      std::any_of(blocks_.begin(), blocks_.end(), [](const auto& block) { return block->wants_grad_amax(); });
  float* amax = wanted ? pass_->new_amax() : nullptr;
  const auto complete_from = [&](size_t parameter) {
    if (pass_->on_gradients && !pass_->planning()) pass_->on_gradients(parameter);
  };
  const LossSum sum = head_->loss(*pass_, targets, batch.rows(), grad_scale, &dstream, amax);
  complete_from(block_parameters_.back());
  for (size_t i = blocks_.size(); i-- > 0;) {
    const int block = static_cast<int>(i);
    before_block(block, block - 1);
    if (limits_.state.gradients_pass())
      pass_->run(Part::optimizer, [&](ThreadPool& pool) { parameters_.zero_group(block + 1, pool); });
    blocks_[i]->backward(*pass_, batch, saved_[i], limits_.kept, dstream, amax);
    complete_from(block_parameters_[i]);
  }
  embedding_->backward(*pass_, batch, dstream);
  complete_from(0);
  return sum;
}

LossSum Transformer::evaluate(const Batch& batch, const int32_t* targets) {
  forward(batch, false);
  return head_->loss(*pass_, targets, batch.rows(), 1.0f, nullptr, nullptr);
}

void Transformer::reset_cache(int64_t length) {
  for (KvCache& cache : cache_) cache.length = std::min(cache.length, length);
}

std::span<const float> Transformer::step(int64_t batch, int64_t seq, const int32_t* tokens) {
  const int64_t length = cache_length();
  if (batch > limits_.batch || seq > limits_.seq || length + seq > limits_.cache)
    fail_usage(
        fmt::format("{} sequences of {} + {} tokens are more than the {} x {} this model was allocated for",
                    batch, length, seq, limits_.batch, limits_.cache));
  int32_t* positions = arena_.at<int32_t>(positions_block_);
  for (int64_t r = 0; r < batch * seq; ++r) positions[r] = static_cast<int32_t>(length + r % seq);
  forward({batch, seq, tokens, positions}, true);
  for (KvCache& cache : cache_) cache.length += seq;
  float* logits = arena_.at<float>(logits_block_);
  std::vector<int64_t> last(static_cast<size_t>(batch));
  for (int64_t b = 0; b < batch; ++b) last[static_cast<size_t>(b)] = (b + 1) * seq - 1;
  if (limits_.exact)
    head_->row_logits(*pass_, last.data(), batch, [&](int64_t first, ConstMatrix rows) {
      const Matrix out = dense(logits + first * config_.vocab_size, Format::fp32, rows.rows, rows.cols);
      QuantizeArgs widen;  // fp32 and bf16 are cast as they are
      widen.x = rows;
      widen.out.codes = out;
      pass_->run(Part::gemm, [&](ThreadPool& pool) { quantize(widen, pool); });
    });
  else
    head_->logits(*pass_, last.data(), batch, logits);
  return {logits, static_cast<size_t>(batch * config_.vocab_size)};
}

GemmArgs typical_gemm(const ModelConfig& config, const Recipe& recipe, int64_t rows) {
  GemmArgs args;
  args.m = rows;
  args.n = args.k = config.width;
  if (recipe.accumulate == Accumulate::fp16) args.fp16_sums = Fp16Sums::values;
  args.a.format = recipe.role(Role::gemm_fprop_input).format;
  args.b.format = recipe.role(Role::gemm_fprop_weight).format;
  args.a.stride = args.b.stride = args.k;
  args.c_stride = args.n;
  return args;
}

}  // namespace octavo
