// SPDX-License-Identifier: Apache-2.0
// One forward or backward pass: the team, the scratch memory, what is being timed and recorded. Layers reach
// kernels only through it, so that planning the workspace, profiling and statistics are decided in one place.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "octavo/base/arena.h"
#include "octavo/base/stopwatch.h"
#include "octavo/base/thread_pool.h"
#include "octavo/kernels/activation.h"
#include "octavo/kernels/attention.h"
#include "octavo/kernels/gemm.h"
#include "octavo/kernels/norm.h"
#include "octavo/kernels/quantize.h"
#include "octavo/recipe/scaler.h"
#include "octavo/recipe/statistics.h"

namespace octavo {

/// Where the time of a step goes. The parts are disjoint; `other` is what is left of the step.
enum class Part { gemm, attention, quantize, norm, activation, loss, embedding, optimizer, other };
inline constexpr int kParts = static_cast<int>(Part::other) + 1;
const char* to_string(Part part);

struct StepTimes {
  std::array<double, kParts> seconds{};
  double& operator[](Part part) { return seconds[static_cast<size_t>(part)]; }
  double operator[](Part part) const { return seconds[static_cast<size_t>(part)]; }
};

/// Adds the time of a scope to a part.
class PartTimer {
 public:
  PartTimer(StepTimes& times, Part part) : times_(times), part_(part) {}
  ~PartTimer() { times_[part_] += watch_.seconds(); }
  PartTimer(const PartTimer&) = delete;
  PartTimer& operator=(const PartTimer&) = delete;

 private:
  StepTimes& times_;
  Part part_;
  Stopwatch watch_;
};

/// Looks at the values of a pass. Places: "h.3.in" (the stream a block begins with), "h.3.attn.qkv", ".heads"
/// and ".out", "h.3.mlp.pre", ".hidden" and ".out", with the model's own prefixes, and "h.3.dout", the
/// gradient of the stream a block ends with.
class Probe {
 public:
  virtual ~Probe() = default;
  virtual void see(const std::string& place, ConstMatrix values) = 0;
};

class Pass {
 public:
  Pass(ThreadPool& pool, Workspace& workspace, Scaler& scaler)
      : pool(pool), workspace(workspace), scaler(scaler) {}

  ThreadPool& pool;
  Workspace& workspace;
  Scaler& scaler;
  StepTimes times;
  std::vector<TensorRecord>* records = nullptr;  ///< filled by every quantization when set
  Probe* probe = nullptr;  ///< asked at every place when set; values that would go by as codes are then kept
  /// When set: told in the backward pass that the gradients of all parameters from an index on are complete.
  std::function<void(size_t first)> on_gradients;
  /// When set: told before a block computes, with the one that comes next in this direction, or -1.
  std::function<void(int block, int next)> before_block;
  bool last_of_step = false;   ///< the gradients will be complete: their norm can be taken along
  bool exact = false;          ///< products and attention sum a few rows like many
  uint64_t seed = 0;           ///< of stochastic rounding; a new one each step
  uint64_t quantizations = 0;  ///< how many used it: no two draw the same numbers

  uint64_t rounding_seed(int slot) { return seed ^ (++quantizations << 20) ^ static_cast<uint64_t>(slot); }

  /// True while the workspace is only measured: layers run, kernels do not.
  bool planning() const { return workspace.planning(); }

  void see(const std::string& prefix, const char* place, ConstMatrix values) const {
    if (probe && !planning()) probe->see(prefix + place, values);
  }

  /// A temporary of the format, released by the caller's WorkspaceScope.
  Matrix temporary(Format format, int64_t rows, int64_t cols);
  /// A zeroed slot for a kernel's amax output.
  float* new_amax();

  void gemm(GemmArgs args);
  void norm_forward(const NormForward& args);
  void norm_backward(const NormBackward& args);
  void attention_forward(AttentionShape shape, ConstMatrix q, ConstMatrix k, ConstMatrix v, Matrix out,
                         float* lse, float* amax);
  void attention_backward(AttentionShape shape, ConstMatrix dout, ConstMatrix q, ConstMatrix k, ConstMatrix v,
                          ConstMatrix out, const float* lse, Matrix dq, Matrix dk, Matrix dv);

  /// Any other kernel: fn(pool) under the given part, not called while planning.
  template <class Fn>
  void run(Part part, Fn&& fn) {
    if (planning()) return;
    const PartTimer timer(times, part);
    fn(pool);
  }
};

}  // namespace octavo
