// SPDX-License-Identifier: Apache-2.0
#include "octavo/train/data_parallel.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

#include "octavo/base/error.h"
#include "octavo/comm/collectives.h"
#include "octavo/train/cursor.h"

namespace octavo {

Ranks make_ranks(int64_t logical, int processes, int process) {
  if (logical == 0) logical = processes;
  if (logical % processes != 0)
    fail_usage(
        fmt::format("parallel.logical_ranks is {}, which cannot be divided among {} processes; start as many "
                    "processes as divide it, or a new run with a multiple of {} ranks",
                    logical, processes, processes));
  return {static_cast<int>(logical), processes, process};
}

DataParallel::DataParallel(Transformer& model, const Ranks& ranks, const RunConfig::Parallel& config,
                           int moments, CommThread& comm)
    : model_(model),
      ranks_(ranks),
      zero_(ranks.logical > 1 ? static_cast<int>(config.zero) : 0),
      comm_(comm) {
  choose_partition(config.partition);
  for (Parameter& p : model.parameters().all()) p.owned = {};
  for (const Shard& s : shards_) {
    Parameter& p = parameter(s);
    if (zero_ == 0) {
      p.owned = {0, p.size()};
    } else if (mine(s)) {
      if (p.owned.count == 0) p.owned.first = s.part.first;
      p.owned.count = s.part.end() - p.owned.first;
    }
  }
  layout_.moments = moments;
  layout_.replicas = ranks.local();
  layout_.sharded_moments = layout_.sharded_masters = zero_ > 0;
  layout_.sharded_gradients = zero_ > 1;
  layout_.sharded_weights = zero_ > 2 && ranks.processes > 1;
  buckets_ = make_buckets(static_cast<int64_t>(config.bucket_mb * 1e6));
}

void DataParallel::choose_partition(const std::string& word) {
  std::vector<bool> whole;
  for (const Parameter& p : model_.parameters().all()) {
    // A tensor with one scale has to lie with one rank, which finds it.
    bool scaled = false;
    for (const RoleSpec* spec :
         {&p.master.spec, &p.weight_grad.spec, &p.moment1.spec, &p.moment2.spec, &p.wire})
      scaled |= carries_scale(spec->format);
    for (const Weight* weight : model_.weights_of(p)) scaled |= !weight->casts_parts();
    if (word == "slices" && scaled)
      fail_usage(fmt::format(
          "parallel.partition is slices, but recipe {} has a scale for the whole of {}; tensors or "
          "auto",
          model_.recipe().name, p.name));
    whole.push_back(scaled || word == "tensors");
  }
  shards_ = make_shards(model_.parameters(), whole, ranks_.logical);
}

std::vector<DataParallel::Bucket> DataParallel::make_buckets(int64_t most_bytes) const {
  std::vector<Bucket> buckets;
  int64_t bytes = most_bytes;
  for (size_t i = shards_.size(); i-- > 0;) {  // in the order in which gradients are complete
    const Shard& s = shards_[i];
    const bool with_last = i + 1 < shards_.size() && shards_[i + 1].parameter == s.parameter;
    // All shards of a parameter are in one bucket, with its scale; where gradients pass, those of a block.
    const bool new_group = zero_ > 1 && !buckets.empty() &&
                           parameter(shards_[buckets.back().shards.back()]).group != parameter(s).group;
    if ((bytes >= most_bytes && !with_last) || new_group) {
      buckets.emplace_back();
      bytes = 0;
    }
    buckets.back().shards.push_back(i);
    buckets.back().lowest = s.parameter;
    bytes += s.part.count * octavo::bytes(parameter(s).wire.format);
  }
  return buckets;
}

void DataParallel::plan() {
  if (ranks_.logical == 1) return;
  send_bytes_ = receive_bytes_ = 0;
  for (const Bucket& bucket : buckets_) {
    size_t send = 0, receive = 0;
    size_t own = 0, others = 0;  // of what goes round afterwards: sums, or with ZeRO weights
    for (const size_t i : bucket.shards) {
      const Shard& s = shards_[i];
      const size_t wire = static_cast<size_t>(s.part.count * octavo::bytes(parameter(s).wire.format));
      send += static_cast<size_t>(ranks_.local()) * wire;
      if (mine(s)) receive += static_cast<size_t>(ranks_.logical - ranks_.local()) * wire;
      size_t& round = mine(s) ? own : others;
      if (zero_ == 0)
        round += static_cast<size_t>(s.part.count * octavo::bytes(parameter(s).weight_grad.spec.format)) +
                 (chooses_scale(parameter(s)) ? sizeof(float) : 0);
      else if (!on_demand(s))
        for (const auto& piece : payload(s, mine(s))) round += piece.size();
    }
    send_bytes_ = std::max({send_bytes_, send, own});
    receive_bytes_ = std::max({receive_bytes_, receive, others});
  }
  for (int block = 0; layout_.sharded_weights && block < model_.config().layers; ++block) {
    size_t own = 0, others = 0;
    for (const size_t i : shards_of_block(block))
      for (const auto& piece : payload(shards_[i], mine(shards_[i])))
        (mine(shards_[i]) ? own : others) += piece.size();
    send_bytes_ = std::max(send_bytes_, own);
    receive_bytes_ = std::max(receive_bytes_, others);
  }
}

void DataParallel::bind() {
  plan();
  send_ = Buffer(send_bytes_);
  receive_ = Buffer(receive_bytes_);
  const size_t parameters = model_.parameters().all().size();
  wire_scales_.assign(parameters, 1.0f);
  result_scales_.assign(parameters, 1.0f);
  results_.assign(shards_.size(), {});
  sums_.resize(static_cast<size_t>(kPiece));
  earlier_.resize(static_cast<size_t>(kPiece));
  piece_of_.resize(static_cast<size_t>(ranks_.logical));
  of_owner_.assign(static_cast<size_t>(model_.scaler().size()), false);
  for (const Parameter& p : model_.parameters().all())
    for (const Scaler::Slot slot : slots_of_owner(p)) of_owner_[static_cast<size_t>(slot)] = true;
}

void DataParallel::begin_step(int64_t step) {
  step_ = step;
  posted_ = 0;
  tickets_.clear();
  results_.assign(shards_.size(), {});
  resident_ = {-1, -1};
  micro_ = 0;
}

void DataParallel::begin_micro_batch(int64_t micro) {
  if (zero_ < 2) return;
  for (const Ticket& ticket : tickets_) ticket.wait();
  tickets_.clear();
  posted_ = 0;
  micro_ = micro;
}

void DataParallel::gradients_complete(size_t first_parameter) {
  // The memory of the block after the next is that of the one before.
  if (layout_.gradients_pass())
    for (const Ticket& ticket : tickets_) ticket.wait();
  for (; posted_ < buckets_.size() && buckets_[posted_].lowest >= first_parameter; ++posted_)
    tickets_.push_back(comm_.post([this, index = posted_](Communicator& comm) {
      const int64_t number = static_cast<int64_t>(index);
      const Bucket& bucket = buckets_[index];
      agree_on_scales(comm, bucket, number);
      reduce(comm, bucket, number);
      if (zero_ == 0) spread_gradients(comm, bucket, number);
    }));
}

std::vector<RankRecord> DataParallel::join(std::span<const RankRecord> own,
                                           const std::vector<Scaler::Memory>& before) {
  Scaler& scaler = model_.scaler();
  const size_t journal = own[0].journal.size(), slots = own[0].scales.size(),
               parameters = own[0].saturated.size();
  struct Figures {
    double loss;
    int64_t tokens, nonfinite, stop;
  };
  const size_t record_bytes = sizeof(Figures) + sizeof(float) * (journal + slots + parameters);
  std::vector<std::byte> mine(record_bytes * own.size()),
      all(record_bytes * static_cast<size_t>(ranks_.logical));
  Cursor pack(mine.data());
  for (const RankRecord& r : own) {
    pack.put_value(Figures{r.sum.loss, r.sum.tokens, r.nonfinite, r.stop});
    pack.put(std::as_bytes(std::span(r.scales)));
    pack.put(std::as_bytes(std::span(r.saturated)));
    for (const Scaler::Observation& o : r.journal) pack.put_value(o.amax);
  }
  comm_.run([&](Communicator& comm) {
    all_gather(comm, mine, std::span(all), {Traffic::control, "figures of the step", step_, -1});
  });
  std::vector<RankRecord> records(static_cast<size_t>(ranks_.logical));
  Cursor unpack(all.data());
  for (RankRecord& r : records) {
    const Figures f = unpack.get_value<Figures>();
    r.sum = {f.loss, f.tokens};
    r.nonfinite = f.nonfinite;
    r.stop = f.stop != 0;
    r.scales.resize(slots);
    unpack.get(std::as_writable_bytes(std::span(r.scales)));
    r.saturated.resize(parameters);
    unpack.get(std::as_writable_bytes(std::span(r.saturated)));
    r.journal = own[0].journal;
    for (Scaler::Observation& o : r.journal) o.amax = unpack.get_value<float>();
  }
  std::vector<Scaler::Observation> joined = records[0].journal;
  for (const RankRecord& r : records)
    for (size_t i = 0; i < journal; ++i) joined[i].amax = std::max(joined[i].amax, r.journal[i].amax);
  scaler.restore(before);
  scaler.replay(joined);
  for (size_t i = 0; i < slots; ++i)
    if (!of_owner_[i]) scaler.note_scale(static_cast<Scaler::Slot>(i), records[0].scales[i]);
  return records;
}

/// Of masters, moments and compute copies.
std::vector<Scaler::Slot> DataParallel::slots_of_owner(const Parameter& p) const {
  std::vector<Scaler::Slot> slots;
  for (const StateTensor* t : {&p.master, &p.moment1, &p.moment2})
    if (t->slot >= 0) slots.push_back(t->slot);
  for (const Weight* weight : model_.weights_of(p))
    for (const Scaler::Slot slot : weight->scale_slots()) slots.push_back(slot);
  return slots;
}

StepTraffic DataParallel::planned_traffic(int64_t micro_batches) const {
  StepTraffic t;
  const int64_t others = ranks_.processes - 1;
  const int64_t reductions = zero_ > 1 ? micro_batches : 1;
  // How often a step fetches each block: each pass goes forth and back, and two blocks stay.
  std::vector<int64_t> fetches(static_cast<size_t>(model_.config().layers));
  std::array<int, 2> resident{-1, -1};
  const auto touch = [&](int block) {
    int& there = resident[static_cast<size_t>(block % 2)];
    fetches[static_cast<size_t>(block)] += there != block;
    there = block;
  };
  const int blocks = static_cast<int>(fetches.size());
  for (int64_t pass = 0; pass < micro_batches * ranks_.local(); ++pass) {
    for (int b = 0; b < blocks; ++b) touch(b);
    for (int b = blocks - 1; b >= 0; --b) touch(b);
  }
  size_t last = std::numeric_limits<size_t>::max();
  for (const Shard& s : shards_) {
    const Parameter& p = parameter(s);
    const int64_t count = s.part.count;
    if (!mine(s)) t.weight_grad += reductions * ranks_.local() * count * bytes(p.wire.format);
    if (s.parameter != last && shares_scale(p)) t.scale += reductions * others * int64_t{sizeof(float)};
    last = s.parameter;
    if (!mine(s)) continue;
    if (zero_ == 0) {
      t.weight_grad += others * count * bytes(p.weight_grad.spec.format);
      if (chooses_scale(p)) t.weight_grad += others * int64_t{sizeof(float)};
      continue;
    }
    const int64_t times = on_demand(s) ? fetches[static_cast<size_t>(p.group - 1)] : 1;
    for (const auto& piece : const_cast<DataParallel*>(this)->payload(s, true))
      t.weight += times * others * static_cast<int64_t>(piece.size());
  }
  return t;
}

StepTraffic DataParallel::take_traffic() {
  StepTraffic t;
  comm_.run([&](Communicator& comm) {
    t = {comm.traffic().bytes(Traffic::weight_grad), comm.traffic().bytes(Traffic::weight),
         comm.traffic().bytes(Traffic::scale)};
    comm.traffic().reset();
  });
  return t;
}

}  // namespace octavo
