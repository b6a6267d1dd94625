// SPDX-License-Identifier: Apache-2.0
// The parameters of a model: names, shapes, and where value, gradient and optimizer state live.
#pragma once
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "octavo/base/arena.h"
#include "octavo/base/thread_pool.h"
#include "octavo/nn/scheme.h"

namespace octavo {

enum class Init { zeros, ones, normal };

/// One named tensor, always [rows, cols] with rows = output features, FP32 masters. Vectors have rows == 1.
struct Parameter {
  std::string name;  ///< the Hugging Face name
  int64_t rows = 1, cols = 0;
  Layer layer = Layer::vector;
  Init init = Init::zeros;
  double init_std = 0;
  bool decay = false;               ///< matrices decay, vectors do not
  bool transposed_on_disk = false;  ///< GPT-2's Conv1D stores [in, out]

  float* value =
      nullptr;            ///< FP32 master; nullptr in a model made for inference whose compute copy is enough
  float* grad = nullptr;  ///< training only
  float* moment1 = nullptr;
  float* moment2 = nullptr;  ///< where the optimizer has two
  float amax = -1;           ///< max |value| when known from the optimizer pass, else negative

  /// The first contribution of a step overwrites the gradient, so that nothing has to zero it or add to
  /// zeros.
  bool overwritten_first = false;
  bool grad_stale = false;   ///< what grad holds is of the step before; the next contribution overwrites it
  double grad_squares = -1;  ///< sum of squares of grad where its last writer took it along, else negative

  Arena::Block value_block, grad_block, moment1_block, moment2_block;
  int64_t size() const { return rows * cols; }
};

/// What a model instance keeps beside its compute copies.
enum class Purpose { training, inference };

class ParameterSet {
 public:
  /// References stay valid: parameters never move.
  Parameter& add(Parameter parameter);
  std::deque<Parameter>& all() { return parameters_; }
  const std::deque<Parameter>& all() const { return parameters_; }
  Parameter* find(const std::string& name);
  int64_t total_size() const;

  /// Reserves masters ("weights"), gradients and 1 or 2 `moments` as `purpose` needs. `keep_value(p)` false
  /// drops the master of p.
  template <class Keep>
  void plan(Arena& arena, Purpose purpose, int moments, Keep keep_value) {
    for (Parameter& p : parameters_)
      reserve(p, arena, purpose, moments, purpose == Purpose::training || keep_value(p));
  }
  /// Sets the pointers after Arena::commit().
  void bind(const Arena& arena);

  /// Draws every value from (seed, index of the parameter): independent of threads and of the order of calls.
  void initialize(uint64_t seed, ThreadPool& pool);
  /// The initial values of one parameter, written to out[size()].
  void initial_values(const Parameter& p, uint64_t seed, float* out, ThreadPool& pool) const;
  /// Begins a step: gradients count as zero from here on.
  void zero_gradients(ThreadPool& pool);

 private:
  static void reserve(Parameter& p, Arena& arena, Purpose purpose, int moments, bool keep_value);
  std::deque<Parameter> parameters_;
};

}  // namespace octavo
