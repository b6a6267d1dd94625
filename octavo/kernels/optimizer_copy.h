// SPDX-License-Identifier: Apache-2.0
// The copy of the weights that an optimizer step makes (CopyOut); not for users of the kernels.
#pragma once
#include <atomic>

#include "octavo/kernels/optimizer_state.h"
#include "octavo/kernels/stored_rows.h"

namespace octavo {

class WeightCopy {
 public:
  /// `weight` as the step begins to store it, by `rule`.
  WeightCopy(const CopyOut& out, const Stored& weight, const CodeRule& rule);

  float scale() const { return out_.scale; }
  /// Asks for the memory of codes that are stored soon: nothing else does, as it is only written.
  void fetch(int64_t first, int64_t count) const;
  /// Codes of the weights [first, first + count), which stand in memory as `weight` says. `amax`: their
  /// largest magnitude before they were rounded (bits).
  void store(const Stored& weight, int64_t first, int64_t count, uint32_t amax);

  /// Once the weights are complete, by one scale.
  void finish(const Stored& weight, int64_t n, ThreadPool& pool);
  float amax() const { return final_amax_; }

 private:
  /// Whether stretches are still wanted: not when the copy has to be made again anyway.
  bool goes_on() const { return out_.codes && !again_.load(std::memory_order_relaxed); }
  void make_again() { again_.store(true, std::memory_order_relaxed); }
  /// What a weight becomes when it is stored.
  float rounded(float x) const;

  CopyOut out_;
  Stored weight_;
  StoredWriter writer_;
  float largest_;
  bool halves_;  ///< FP16 to E4M3 without FP32 in between
  int octaves_ = 0;
  std::atomic<bool> again_{false};
  SharedAmax amax_, unrounded_;
  float final_amax_ = 0;
};

}  // namespace octavo
