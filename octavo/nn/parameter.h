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
#include "octavo/nn/state.h"

namespace octavo {

enum class Init { zeros, ones, normal };

/// One named tensor, always [rows, cols] with rows = output features. Vectors have rows == 1.
struct Parameter {
  std::string name;  ///< the Hugging Face name
  int64_t rows = 1, cols = 0;
  Layer layer = Layer::vector;
  Init init = Init::zeros;
  double init_std = 0;
  bool decay = false;               ///< matrices decay, vectors do not
  bool transposed_on_disk = false;  ///< GPT-2's Conv1D stores [in, out]

  /// FP32 unless the recipe keeps the state of this parameter in other numbers. A model made for inference
  /// has a master only where its compute copy is not enough; the others are for training, moment2 where the
  /// optimizer has two. Of several ranks each may keep a part.
  StateTensor master, weight_grad, moment1, moment2;
  RoleSpec wire;                      ///< the gradient between ranks (comm.weight_grad)
  Scaler::Slot wire_slot = -1;        ///< of its scale, where it has one
  bool computes_with_master = false;  ///< layers read the master: every rank needs all of it
  bool casts_master = false;          ///< every rank keeps all of it and casts it (store.weight)
  int group = 0;                      ///< 0: embeddings, then one for each block, then the head
  /// What the update reads, where the sum over ranks does not take the place of one's gradient.
  StateTensor summed;
  Elements owned;          ///< what this process updates
  bool divided = false;    ///< of the master only that is here
  float* value = nullptr;  ///< the master where it is whole and FP32, else nullptr
  float* grad = nullptr;   ///< the gradient where it is FP32, else nullptr
  float amax = -1;         ///< max |master| when known from the optimizer pass, else negative

  /// The first contribution of a step overwrites the gradient, so that nothing has to zero it or add to
  /// zeros.
  bool overwritten_first = false;
  bool grad_stale = false;   ///< what grad holds is of the step before; the next contribution overwrites it
  double grad_squares = -1;  ///< sum of squares of grad where its last writer took it along, else negative
  /// Codes at the end of their range in a gradient that is kept as codes, after ranks have been summed in
  /// their sum.
  int64_t grad_saturated = 0;

  int64_t size() const { return rows * cols; }
  bool has_whole_master() const { return master.part.count == size(); }
  const StateTensor& gradient() const { return summed.at.data ? summed : weight_grad; }
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

  /// Where parts of the state lie.
  struct Layout {
    int moments = 2;  ///< optimizer states a parameter
    /// Of each rank's gradients that this process computes one after the other there is a set of its own.
    int64_t replicas = 1;
    bool sharded_moments = false, sharded_masters = false;  ///< only Parameter::owned is here
    /// Of the sums of gradients likewise. With one replica a block's own gradients live until the block after
    /// the next has its turn.
    bool sharded_gradients = false;
    bool sharded_weights =
        false;  ///< of compute copies of blocks likewise; all of them while the block computes
    bool gradients_pass() const { return sharded_gradients && replicas == 1; }
  };
  /// Training: reserves masters ("weights"), gradients and moments.
  void plan(Arena& arena, const Layout& layout);
  /// Inference: masters alone, of those parameters that need them.
  template <class Needs>
  void plan_masters(Arena& arena, Needs needs) {
    for (Parameter& p : parameters_) {
      p.master.part = {0, needs(p) ? p.size() : 0};
      reserve(p.master, arena, "weights");
    }
  }
  /// Sets the pointers after Arena::commit().
  void bind(const Arena& arena);
  /// Makes the gradients of replica r those that layers write.
  void use_replica(int64_t r);
  /// Gradient set r of parameter `index`, with its own scale.
  Stored replica(size_t index, int64_t r) const;

  /// Draws every value from (seed, index of the parameter): independent of threads and of the order of calls.
  void initialize(uint64_t seed, Scaler& scaler, ThreadPool& pool);
  /// The initial values of one parameter, written to out[size()].
  void initial_values(const Parameter& p, uint64_t seed, float* out, ThreadPool& pool) const;
  /// Begins a step: gradients count as zero from here on.
  void zero_gradients(ThreadPool& pool);
  /// The same for a group whose memory others used meanwhile.
  void zero_group(int group, ThreadPool& pool);
  const Layout& layout() const { return layout_; }

 private:
  static void reserve(StateTensor& state, Arena& arena, const char* category, int64_t copies = 1);
  static void bind(StateTensor& state, const Arena& arena);
  std::deque<Parameter> parameters_;
  static void zero(Parameter& p, ThreadPool& pool);
  Layout layout_;
  int64_t replica_ = 0;
  std::vector<std::vector<float>> replica_scales_;  ///< [replica][parameter]: of the sets that are not in use
};

}  // namespace octavo
