// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/optimizer_pass.h"

#include <algorithm>
#include <array>

#include "octavo/kernels/optimizer_copy.h"
#include "octavo/kernels/stored_rows.h"
#include "octavo/numerics/scale.h"

namespace octavo {
namespace {

/// Elements of a stretch: three results in FP32 and what is read for them fit into L1.
constexpr int64_t kStep = 1024;
constexpr size_t kBlocks = 256;

/// Elements of a block. At most kBlocks of them cover a tensor, so that what is known of each needs no
/// memory.
int64_t block_length(int64_t n) {
  const int64_t blocks = static_cast<int64_t>(kBlocks);
  const int64_t share = (n + blocks - 1) / blocks;
  return std::max(kGrainElements, (share + kStep - 1) / kStep * kStep);
}

struct alignas(64) StepBuffers {
  float weight[kStep], moment1[kStep], moment2[kStep];
};

/// Elements from i on, and where their results go: FP32 to its place, the rest to the buffers.
OptimizerRow row_of(const OptimizerState& state, int64_t i, int64_t count, StepBuffers& buffers) {
  const auto target = [&](const Stored& x, float* buffer) {
    return x.format == Format::fp32 ? static_cast<float*>(x.data) + i : buffer;
  };
  OptimizerRow row{.weight = row_of(state.weight, i),
                   .grad = row_of(state.grad, i),
                   .moment1 = row_of(state.moment1, i),
                   .new_weight = target(state.weight, buffers.weight),
                   .new_moment1 = target(state.moment1, buffers.moment1),
                   .n = count};
  if (state.moment2.data) {
    row.moment2 = row_of(state.moment2, i);
    row.new_moment2 = target(state.moment2, buffers.moment2);
  }
  return row;
}

/// One tensor of the state on its way back to memory.
class Result {
 public:
  Result(const Stored& old, const StoreAs& as)
      : old_(old),
        as_(as),
        in_place_(old.format == Format::fp32),
        fits_(as.fit_margin && old.data && !is_fp32_or_bf16(old.format)),
        writer_({old.data, old.format, fits_ ? old.scale : as.scale}, as.rule) {
    scales_.fill(writer_.scale());
  }

  /// Stores x[count] at `first`, in the block that starts at `begin`. A block belongs to one thread.
  void store(size_t block, int64_t begin, const float* x, int64_t first, int64_t count, uint32_t bits) {
    amax_.raise(bits);
    if (in_place_) return;
    const float amax = float_from_bits(bits);
    if (fits_ && usable_amax(amax) && amax / scales_[block] > writer_.largest())
      move(block, begin, first, fitting_scale(amax));
    const EncodedRow row = writer_.with_scale(scales_[block]).write(x, first, count, bits);
    saturated_[block] += row.saturated;
  }

  /// Whether store_codes() is possible.
  bool is(Format format) const {
    return old_.format == format && as_.rule.rounding == Rounding::nearest_even;
  }
  /// The same with codes by the scale of the block, of values that it can hold.
  void store_codes(size_t block, const void* codes, int64_t first, int64_t count, uint32_t bits) {
    amax_.raise(bits);
    saturated_[block] += writer_.with_scale(scales_[block]).copy(codes, first, count, bits).saturated;
  }

  /// Brings all blocks to one scale.
  void finish(int64_t n, int64_t length, ThreadPool& pool) {
    if (!fits_) return;
    const float final_scale = fitting_scale(amax_.value());
    // Seldom anything to do, and waking the team would cost small tensors more than their step.
    const auto used = scales_.begin() + (n + length - 1) / length;
    if (std::all_of(scales_.begin(), used, [&](float s) { return s == final_scale; })) return;
    pool.parallel_for(n, length, [&](int64_t from, int64_t to) {
      for (int64_t begin = from; begin < to; begin += length) {
        const size_t block = static_cast<size_t>(begin / length);
        if (scales_[block] != final_scale) move(block, begin, std::min(begin + length, to), final_scale);
      }
    });
    scales_.fill(final_scale);
  }

  Encoded seen() const {
    Encoded seen{.amax = amax_.value()};
    for (const int64_t s : saturated_) seen.saturated += s;
    return seen;
  }
  float scale(size_t block = 0) const { return scales_[block]; }
  /// As it stands in memory.
  Stored now(size_t block = 0) const { return {old_.data, old_.format, scales_[block]}; }

 private:
  /// What is written of a block, [begin, end), to another scale.
  void move(size_t block, int64_t begin, int64_t end, float scale) {
    const Stored before{old_.data, old_.format, scales_[block]};
    scales_[block] = scale;
    saturated_[block] = writer_.with_scale(scale).rewrite(before, begin, end - begin).saturated;
  }
  float fitting_scale(float amax) const {
    const std::optional<int> bias = pow2_bias(amax, old_.format, *as_.fit_margin, kFloatBiasRange);
    return bias ? scale_from_bias(*bias) : old_.scale;
  }

  Stored old_;
  StoreAs as_;
  bool in_place_, fits_;
  StoredWriter writer_;
  SharedAmax amax_;
  std::array<float, kBlocks> scales_{};
  std::array<int64_t, kBlocks> saturated_{};
};

}  // namespace

StepSeen run_step(const RowStep& step, const RowStepToCodes& to_codes, const OptimizerState& state,
                  const StepOutput& output, int64_t n, ThreadPool& pool) {
  Result weight(state.weight, output.weight), moment1(state.moment1, output.moment1);
  Result moment2(state.moment2, output.moment2);
  WeightCopy copy(output.copy, weight.now(), output.weight.rule);
  const int64_t length = block_length(n);
  const bool direct = to_codes && weight.is(Format::fp16) && moment1.is(Format::e4m3) &&
                      moment2.is(Format::fp16) && state.grad.format == Format::e4m3;
  pool.parallel_for(n, length, [&](int64_t from, int64_t to) {
    StepBuffers buffers;
    for (int64_t i = from; i < to; i += kStep) {
      const int64_t count = std::min(kStep, to - i), begin = i / length * length;
      const size_t block = static_cast<size_t>(i / length);
      OptimizerRow row = row_of(state, i, count, buffers);
      copy.fetch(i, count);
      if (direct) {
        const Fp8LmCodes codes{.weight = reinterpret_cast<uint16_t*>(buffers.weight),
                               .moment1 = reinterpret_cast<uint8_t*>(buffers.moment1),
                               .moment2 = reinterpret_cast<uint16_t*>(buffers.moment2),
                               .weight_scale = weight.scale(block),
                               .moment1_scale = moment1.scale(block),
                               .moment2_scale = moment2.scale(block)};
        if (to_codes(row, codes)) {
          weight.store_codes(block, codes.weight, i, count, row.amax_weight);
          moment1.store_codes(block, codes.moment1, i, count, row.amax_moment1);
          moment2.store_codes(block, codes.moment2, i, count, row.amax_moment2);
          copy.store(weight.now(block), i, count, row.amax_weight);
          continue;
        }
      }
      step(row);
      weight.store(block, begin, row.new_weight, i, count, row.amax_weight);
      moment1.store(block, begin, row.new_moment1, i, count, row.amax_moment1);
      if (row.new_moment2) moment2.store(block, begin, row.new_moment2, i, count, row.amax_moment2);
      copy.store(weight.now(block), i, count, row.amax_weight);
    }
  });
  weight.finish(n, length, pool);
  moment1.finish(n, length, pool);
  moment2.finish(n, length, pool);
  copy.finish(weight.now(), n, pool);
  return {weight.seen(),   moment1.seen(),  moment2.seen(), weight.scale(),
          moment1.scale(), moment2.scale(), copy.scale(),   copy.amax()};
}

StateAmax run_amax(const RowStep& step, const OptimizerState& state, int64_t n, bool weight_too,
                   ThreadPool& pool) {
  SharedAmax weight, moment1, moment2;
  pool.parallel_for(n, kGrainElements, [&](int64_t begin, int64_t end) {
    StepBuffers buffers;
    for (int64_t i = begin; i < end; i += kStep) {
      OptimizerRow row = row_of(state, i, std::min(kStep, end - i), buffers);
      row.new_weight = weight_too ? buffers.weight : nullptr;
      row.new_moment1 = buffers.moment1;
      row.new_moment2 = buffers.moment2;
      step(row);
      weight.raise(row.amax_weight);
      moment1.raise(row.amax_moment1);
      moment2.raise(row.amax_moment2);
    }
  });
  return {weight.value(), moment1.value(), moment2.value()};
}

}  // namespace octavo
