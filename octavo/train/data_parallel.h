// SPDX-License-Identifier: Apache-2.0
// Data-parallel training: ranks compute gradients of their own micro-batches, which are summed in the
// recipe's numbers; what the optimizer keeps may be divided among them (ZeRO, arXiv:1910.02054).
//
// Ranks are logical: N of them, mapped in order on P processes, P a divisor of N. A process computes the
// gradients of its ranks one after the other. Every sum is in the order of ranks and every decision is made
// of what all ranks said, so results depend on N and not on P, nor on how bytes travelled.
//
// A step: (1) backward passes; as soon as the last rank of this process has the gradients of a bucket, the
// bucket is reduced by the thread that communicates: ranks agree on one scale a tensor, the gradients become
// codes of that scale, the owner of each shard receives those of all ranks and sums. (2) join(): losses,
// histories and saturation counts. (3) the update, of all or (ZeRO) of what this process owns. (4) with ZeRO,
// weights go to all.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "octavo/base/buffer.h"
#include "octavo/comm/comm_thread.h"
#include "octavo/nn/transformer.h"
#include "octavo/train/checkpoint.h"
#include "octavo/train/run_config.h"
#include "octavo/train/shards.h"

namespace octavo {

struct Ranks {
  int logical = 1, processes = 1, process = 0;
  int local() const { return logical / processes; }  ///< of this process
  int first() const { return process * local(); }
  int process_of(int rank) const { return rank / local(); }
};
/// `logical` 0: one for each process. Throws usage when it is no multiple of the processes.
Ranks make_ranks(int64_t logical, int processes, int process);

/// What one rank has to say of its part of a step.
struct RankRecord {
  LossSum sum;
  int64_t nonfinite = 0;         ///< amaxes that were not finite
  bool stop = false;             ///< its process was told to stop
  std::vector<float> scales;     ///< the scaler's last ones
  std::vector<float> saturated;  ///< [parameter]: codes at the end of their range
  std::vector<Scaler::Observation> journal;
};

/// Bytes this process sends to others in a step.
struct StepTraffic {
  int64_t weight_grad = 0, weight = 0, scale = 0;
};

class DataParallel final : public StateAccess {
 public:
  /// `model` is not allocated yet: layout() says how. Decides who owns what.
  DataParallel(Transformer& model, const Ranks& ranks, const RunConfig::Parallel& config, int moments,
               CommThread& comm);

  const Ranks& ranks() const { return ranks_; }
  int zero() const { return zero_; }
  const ParameterSet::Layout& layout() const { return layout_; }
  /// Bytes for gradients and weights that travel.
  size_t buffer_bytes() const { return send_bytes_ + receive_bytes_; }
  /// After Transformer::plan(): how much travels at a time. Takes no memory.
  void plan();
  /// After Transformer::allocate().
  void bind();

  /// From here on pass().on_gradients of the last rank sends buckets on their way.
  void begin_step(int64_t step);
  /// ZeRO-2 and 3 reduce the gradients of each micro-batch: before the backward passes of one.
  void begin_micro_batch(int64_t micro);
  void gradients_complete(size_t first_parameter);
  /// ZeRO-3: returns when the weights of a block are here, and has those of the next one sent.
  void need_block(int block, int next);
  /// All ranks' records, in their order; the scaler takes the joined histories over `before`.
  std::vector<RankRecord> join(std::span<const RankRecord> own, const std::vector<Scaler::Memory>& before);
  /// Waits for the sums, which become the gradients of what this process updates. Sum of the squares of all
  /// of them, infinite where one was not finite. Parameter::grad_saturated is then that of the sums.
  double finish_gradients();
  /// Then: codes of a parameter, of all ranks as they were sent, that were the largest number. Only counted
  /// where what travels is scaled automatically and what is kept by another rule.
  int64_t sent_saturated(size_t parameter) const { return sent_saturated_[parameter]; }
  /// After an update, or the reading of weights: all ranks get what they compute with.
  void share_weights(int64_t step);
  /// The same after initialization or a resume: compute copies as they were made last, to the same bits.
  void restore_weights();

  /// What one step sends, from shapes alone.
  StepTraffic planned_traffic(int64_t micro_batches) const;
  /// What was sent since the last call.
  StepTraffic take_traffic();

  bool has_files() const override { return ranks_.process == 0; }
  void collect_scales() override;
  Stored whole(const Parameter& p, const StateTensor& tensor) override;
  void share(std::span<std::byte> data) override;

 private:
  struct Bucket {
    std::vector<size_t> shards;
    size_t lowest = 0;  ///< parameter
  };
  struct ShardResult {
    double squares = 0;
    int64_t saturated = 0, sent_saturated = 0, nonfinite = 0;
  };

  std::vector<Bucket> make_buckets(int64_t most_bytes) const;
  void choose_partition(const std::string& word);
  const Parameter& parameter(const Shard& s) const { return model_.parameters().all()[s.parameter]; }
  Parameter& parameter(const Shard& s) { return model_.parameters().all()[s.parameter]; }
  int process_of(const Shard& s) const { return ranks_.process_of(s.owner); }
  bool mine(const Shard& s) const { return process_of(s) == ranks_.process; }
  bool shares_scale(const Parameter& p) const;
  /// Whether a sum needs a scale of its own, as what is kept is not what travelled.
  bool chooses_scale(const Parameter& p) const;
  uint64_t draw(size_t parameter, Scaler::Slot slot) const;
  std::vector<Scaler::Slot> slots_of_owner(const Parameter& p) const;
  float local_scale(const Parameter& p, const Stored& gradient) const;
  void agree_on_scales(Communicator& comm, const Bucket& bucket, int64_t index);
  void reduce(Communicator& comm, const Bucket& bucket, int64_t index);
  void sum_shard(size_t shard, std::span<const void* const> parts);
  void spread_gradients(Communicator& comm, const Bucket& bucket, int64_t index);
  void spread_all_weights();
  void spread_weights(Communicator& comm, std::span<const size_t> shards, int64_t index);
  std::vector<std::span<std::byte>> payload(const Shard& s, bool made_here);
  float scale_of_sum(const Parameter& p, float largest) const;
  bool on_demand(const Shard& s) const;
  std::vector<size_t> shards_of_block(int block) const;
  void fetch_block(int block);

  Transformer& model_;
  Ranks ranks_;
  int zero_;
  CommThread& comm_;
  std::vector<Shard> shards_;
  std::vector<Bucket> buckets_;
  ParameterSet::Layout layout_;
  size_t send_bytes_ = 0, receive_bytes_ = 0;

  Buffer send_, receive_;
  ThreadPool alone_{1};  ///< of the thread that communicates
  /// Sums that cannot be made in place, by pieces that stay in the cache.
  static constexpr int64_t kPiece = 2048;
  std::vector<float> sums_, earlier_;
  std::vector<const void*> piece_of_;  ///< [rank]
  std::vector<float> wire_scales_;     ///< [parameter]: agreed on for this step
  std::vector<float> result_scales_;   ///< [parameter]: of the summed gradient
  std::vector<ShardResult> results_;
  std::vector<Ticket> tickets_;
  size_t posted_ = 0;
  std::vector<int64_t> sent_saturated_;
  std::vector<bool> of_owner_;  ///< [slot]: of what only its owner has, or makes, and so knows the scale of
  int64_t micro_ = 0;  ///< ZeRO-2 and 3: from the second one on sums are added to those of earlier ones
  std::array<int, 2> resident_{-1,
                               -1};  ///< ZeRO-3: the block whose weights are in each region, or come there
  std::array<Ticket, 2> fetched_;
  int64_t step_ = 0;
  std::vector<std::byte> whole_;
};

}  // namespace octavo
