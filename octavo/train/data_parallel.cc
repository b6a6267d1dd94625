// SPDX-License-Identifier: Apache-2.0
#include "octavo/train/data_parallel.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "octavo/base/error.h"
#include "octavo/comm/collectives.h"
#include "octavo/kernels/sum_codes.h"

namespace octavo {
namespace {

std::span<const std::byte> bytes_at(const void* data, size_t size) {
  return {static_cast<const std::byte*>(data), size};
}

/// Copies through a buffer in order: what is packed on one side is unpacked the same way on the other.
class Cursor {
 public:
  explicit Cursor(std::byte* at) : at_(at) {}
  std::byte* take(size_t bytes) { return std::exchange(at_, at_ + bytes); }
  void put(std::span<const std::byte> data) { std::memcpy(take(data.size()), data.data(), data.size()); }
  void get(std::span<std::byte> data) { std::memcpy(data.data(), take(data.size()), data.size()); }
  template <class T>
  void put_value(const T& value) {
    put(std::as_bytes(std::span<const T, 1>(&value, 1)));
  }
  template <class T>
  T get_value() {
    T value;
    get(std::as_writable_bytes(std::span<T, 1>(&value, 1)));
    return value;
  }

 private:
  std::byte* at_;
};

CodeSum code_sum(ReduceSum sum) {
  switch (sum) {
    case ReduceSum::fp8_chain:
      return CodeSum::chain;
    case ReduceSum::fp8_tree:
      return CodeSum::tree;
    case ReduceSum::fp32:
      break;
  }
  return CodeSum::fp32;
}

bool from_data(const RoleSpec& spec) {
  return spec.scaling.kind == ScalingKind::current || spec.scaling.kind == ScalingKind::automatic;
}

}  // namespace

Ranks make_ranks(int64_t logical, int processes, int process) {
  if (logical == 0) logical = processes;
  if (logical % processes != 0)
    fail_usage(
        fmt::format("parallel.logical_ranks is {}, which cannot be divided among {} processes; a multiple of "
                    "{} can",
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
  // A tensor with one scale has to lie with one rank, which finds it.
  const Parameter* scaled = nullptr;
  for (const Parameter& p : model_.parameters().all()) {
    bool whole = false;
    for (const RoleSpec* spec :
         {&p.master.spec, &p.weight_grad.spec, &p.moment1.spec, &p.moment2.spec, &p.wire})
      whole |= carries_scale(spec->format);
    for (const Weight* weight : model_.weights_of(p)) whole |= !weight->casts_parts();
    if (whole && !scaled) scaled = &p;
  }
  if (word == "slices" && scaled)
    fail_usage(
        fmt::format("parallel.partition is slices, but recipe {} has a scale for the whole of {}; tensors or "
                    "auto",
                    model_.recipe().name, scaled->name));
  const bool slices = word == "slices" || (word == "auto" && !scaled);
  shards_ = make_shards(model_.parameters(), slices ? Partition::slices : Partition::tensors, ranks_.logical);
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
    size_t send = 0, receive = 0, result = 0, weights = 0, own_weights = 0;
    for (const size_t i : bucket.shards) {
      const Shard& s = shards_[i];
      const size_t wire = static_cast<size_t>(s.part.count * octavo::bytes(parameter(s).wire.format));
      send += static_cast<size_t>(ranks_.local()) * wire;
      if (mine(s)) receive += static_cast<size_t>(ranks_.logical - ranks_.local()) * wire;
      result += static_cast<size_t>(s.part.count * octavo::bytes(parameter(s).weight_grad.spec.format)) + 4;
      if (zero_ == 0) continue;
      size_t payload_bytes = 0;
      for (const auto& piece : payload(s, mine(s))) payload_bytes += piece.size();
      weights += payload_bytes;
      if (mine(s)) own_weights += payload_bytes;
    }
    if (zero_ == 0) send = std::max(send, result), receive = std::max(receive, result);
    if (zero_ > 0) send = std::max(send, own_weights), receive = std::max(receive, weights);
    send_bytes_ = std::max(send_bytes_, send);
    receive_bytes_ = std::max(receive_bytes_, receive);
  }
  for (int block = 0; layout_.sharded_weights && block < model_.config().layers; ++block) {
    size_t all = 0;
    for (const size_t i : shards_of_block(block))
      for (const auto& piece : payload(shards_[i], mine(shards_[i]))) all += piece.size();
    send_bytes_ = std::max(send_bytes_, all);
    receive_bytes_ = std::max(receive_bytes_, all);
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
}

void DataParallel::begin_step(int64_t step) {
  step_ = step;
  posted_ = 0;
  tickets_.clear();
  results_.assign(shards_.size(), {});
  resident_ = {-1, -1};
}

void DataParallel::begin_micro_batch(int64_t micro) {
  if (zero_ < 2) return;
  for (const Ticket& ticket : tickets_) ticket.wait();
  tickets_.clear();
  posted_ = 0;
  adds_ = micro > 0;
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

bool DataParallel::shares_scale(const Parameter& p) const {
  return carries_scale(p.wire.format) && from_data(p.wire);
}

/// The scale a rank's gradient asks for on the wire.
float DataParallel::local_scale(const Parameter& p, const Stored& gradient) const {
  if (p.wire == p.weight_grad.spec) return gradient.scale;
  const float largest = octavo::amax(gradient, p.size(), const_cast<ThreadPool&>(alone_));
  if (largest == 0) return 0x1p-126f;
  return scale_from_amax(p.wire, largest / model_.scaler().mu(p.wire_slot))
      .value_or(std::numeric_limits<float>::infinity());
}

/// wire_scales_ of a bucket's parameters: the largest of what the ranks' gradients ask for, which is the
/// paper's smallest factor, times the power of N by which the division is done beforehand.
void DataParallel::agree_on_scales(Communicator& comm, const Bucket& bucket, int64_t index) {
  std::vector<size_t> shared;
  for (const size_t i : bucket.shards) {
    const size_t number = shards_[i].parameter;
    const Parameter& p = model_.parameters().all()[number];
    wire_scales_[number] = 1;
    if (!carries_scale(p.wire.format)) continue;
    if (!from_data(p.wire)) {
      wire_scales_[number] = p.wire.scaling.kind == ScalingKind::constant
                                 ? std::exp2(-static_cast<float>(p.wire.scaling.exponent))
                                 : 1.0f;
      continue;
    }
    if (shared.empty() || shared.back() != number) shared.push_back(number);
  }
  if (shared.empty()) return;
  std::vector<float> wanted;
  for (const size_t number : shared) {
    float largest = 0;
    for (int r = 0; r < ranks_.local(); ++r)
      largest = std::fmax(
          largest, local_scale(model_.parameters().all()[number], model_.parameters().replica(number, r)));
    wanted.push_back(largest);
  }
  all_reduce_max(comm, wanted, {Traffic::scale, "agreeing on scales", step_, index});
  const double n = ranks_.logical;
  double factor = 1;
  if (model_.recipe().reduce.gradient == GradientDivision::pre) factor = n;
  if (model_.recipe().reduce.gradient == GradientDivision::rsqrt) factor = std::sqrt(n);
  for (size_t i = 0; i < shared.size(); ++i) wire_scales_[shared[i]] = static_cast<float>(wanted[i] * factor);
}

void DataParallel::reduce(Communicator& comm, const Bucket& bucket, int64_t index) {
  const size_t processes = static_cast<size_t>(ranks_.processes);
  std::vector<std::span<const std::byte>> out(processes);
  std::vector<std::span<std::byte>> in(processes);
  Cursor send(send_.as<std::byte>()), receive(receive_.as<std::byte>());
  // To each process, of each of its shards, the codes of each rank of this process; those for itself, too.
  for (int to = 0; to < ranks_.processes; ++to) {
    std::byte* const begin = send.take(0);
    for (const size_t i : bucket.shards) {
      const Shard& s = shards_[i];
      if (process_of(s) != to) continue;
      const Parameter& p = parameter(s);
      for (int r = 0; r < ranks_.local(); ++r) {
        const Stored gradient = model_.parameters().replica(s.parameter, r);
        const Stored wire{send.take(static_cast<size_t>(s.part.count * octavo::bytes(p.wire.format))),
                          p.wire.format, wire_scales_[s.parameter]};
        const CodeRule rule{p.wire.rounding, p.wire.overflow,
                            model_.pass().seed ^ (static_cast<uint64_t>(ranks_.first() + r + 1) << 44) ^
                                static_cast<uint64_t>(p.wire_slot),
                            static_cast<uint64_t>(s.part.first)};
        if (gradient.format == wire.format && (gradient.scale == wire.scale || !carries_scale(wire.format)))
          std::memcpy(wire.data, from(gradient, s.part.first).data,
                      static_cast<size_t>(s.part.count * octavo::bytes(wire.format)));
        else
          recode(from(gradient, s.part.first), s.part.count, wire, rule, alone_);
      }
    }
    out[static_cast<size_t>(to)] = {begin, send.take(0)};
  }
  std::vector<const std::byte*> from_process(processes);
  for (int source = 0; source < ranks_.processes; ++source) {
    const size_t own = static_cast<size_t>(ranks_.process);
    if (source == ranks_.process) {
      from_process[own] = out[own].data();
      continue;
    }
    const size_t size = out[own].size();  // as many codes as this process has for itself
    std::byte* const begin = receive.take(size);
    in[static_cast<size_t>(source)] = {begin, size};
    from_process[static_cast<size_t>(source)] = begin;
  }
  out[static_cast<size_t>(ranks_.process)] = {};
  comm.exchange(out, in, {Traffic::weight_grad, "all-to-all", step_, index});

  std::vector<const void*> parts(static_cast<size_t>(ranks_.logical));
  size_t offset = 0;
  for (const size_t i : bucket.shards) {
    const Shard& s = shards_[i];
    if (!mine(s)) continue;
    const size_t size = static_cast<size_t>(s.part.count * octavo::bytes(parameter(s).wire.format));
    for (int rank = 0; rank < ranks_.logical; ++rank) {
      const size_t within = offset + static_cast<size_t>(rank % ranks_.local()) * size;
      parts[static_cast<size_t>(rank)] = from_process[static_cast<size_t>(ranks_.process_of(rank))] + within;
    }
    offset += static_cast<size_t>(ranks_.local()) * size;
    sum_shard(i, parts);
  }
}

/// The sum of a shard becomes its gradient: the one the update reads. It keeps the scale by which it
/// travelled, so that a part of a tensor can be summed without the rest; only where none travelled, or where
/// it joins the sums of earlier micro-batches, is one chosen for the result.
void DataParallel::sum_shard(size_t shard, std::span<const void* const> parts) {
  const Shard& s = shards_[shard];
  Parameter& p = parameter(s);
  const RoleSpec& kept = p.weight_grad.spec;
  const int64_t n = s.part.count;
  Stored out = zero_ > 1 ? p.summed.from(s.part.first)
                         : from(model_.parameters().replica(s.parameter, 0), s.part.first);
  const float wire = wire_scales_[s.parameter];
  const CodeRule rule{kept.rounding, kept.overflow,
                      model_.pass().seed ^ 0x5851F42D4C957F2Dull ^ static_cast<uint64_t>(p.weight_grad.slot),
                      static_cast<uint64_t>(s.part.first)};
  const CodeSum how = code_sum(model_.recipe().reduce.sum);
  const bool scaled = carries_scale(out.format), wire_scaled = carries_scale(p.wire.format);
  Encoded encoded;
  if (!adds_ && scaled && wire_scaled) {
    encoded = sum_codes(parts, p.wire.format, n, how, 1.0f, {out.data, out.format, 1}, rule, alone_);
    out.scale = wire;
  } else if (!adds_ && !scaled) {
    encoded = sum_codes(parts, p.wire.format, n, how, wire, out, rule, alone_);
  } else {
    std::vector<float> sums(static_cast<size_t>(n));
    const Encoded passing =
        sum_codes(parts, p.wire.format, n, how, wire_scaled ? wire : 1.0f, {sums.data()}, {}, alone_);
    if (adds_) {
      std::vector<float> earlier(static_cast<size_t>(n));
      out.scale = result_scales_[s.parameter];
      decode(out, n, earlier.data(), alone_);
      for (size_t i = 0; i < sums.size(); ++i) sums[i] = earlier[i] + sums[i];
    }
    if (scaled) out.scale = scale_of_sum(p, octavo::amax(Stored{sums.data()}, n, alone_));
    encoded = encode(sums.data(), n, out, rule, alone_);
    encoded.saturated += passing.saturated;
  }
  result_scales_[s.parameter] = out.scale;
  ShardResult& result = results_[shard];
  result.saturated = encoded.saturated;
  result.nonfinite += !std::isfinite(encoded.amax) || !std::isfinite(wire);
  result.squares = octavo::sum_squares(out, n, alone_);
}

float DataParallel::scale_of_sum(const Parameter& p, float largest) const {
  const RoleSpec& kept = p.weight_grad.spec;
  if (from_data(kept))
    return scale_from_amax(kept, largest / model_.scaler().mu(p.weight_grad.slot)).value_or(1);
  return kept.scaling.kind == ScalingKind::constant ? std::exp2(-static_cast<float>(kept.scaling.exponent))
                                                    : 1.0f;
}

/// Without ZeRO everyone makes the update, of everyone's sums.
void DataParallel::spread_gradients(Communicator& comm, const Bucket& bucket, int64_t index) {
  const size_t processes = static_cast<size_t>(ranks_.processes);
  std::vector<std::span<std::byte>> in(processes);
  Cursor send(send_.as<std::byte>()), receive(receive_.as<std::byte>());
  const auto gradient = [&](const Shard& s) {
    const Stored at = from(model_.parameters().replica(s.parameter, 0), s.part.first);
    return std::span(static_cast<std::byte*>(at.data), static_cast<size_t>(s.part.count * bytes(at.format)));
  };
  // The scale is known to all, unless it was chosen for the sum.
  const auto chosen = [&](const Shard& s) {
    const Parameter& p = parameter(s);
    return carries_scale(p.weight_grad.spec.format) && !carries_scale(p.wire.format);
  };
  std::vector<size_t> size_of(processes);
  for (const size_t i : bucket.shards) {
    const Shard& s = shards_[i];
    size_of[static_cast<size_t>(process_of(s))] += gradient(s).size() + (chosen(s) ? sizeof(float) : 0);
    if (!mine(s)) continue;
    send.put(gradient(s));
    if (chosen(s)) send.put_value(result_scales_[s.parameter]);
  }
  for (int source = 0; source < ranks_.processes; ++source)
    if (source != ranks_.process) {
      const size_t size = size_of[static_cast<size_t>(source)];
      in[static_cast<size_t>(source)] = {receive.take(size), size};
    }
  const size_t own = static_cast<size_t>(ranks_.process);
  in[own] = {send_.as<std::byte>(), size_of[own]};
  all_gather(comm, in[own], in, {Traffic::weight_grad, "all-gather", step_, index});
  for (int source = 0; source < ranks_.processes; ++source) {
    if (source == ranks_.process) continue;
    Cursor from_source(in[static_cast<size_t>(source)].data());
    for (const size_t i : bucket.shards) {
      const Shard& s = shards_[i];
      if (process_of(s) != source) continue;
      from_source.get(gradient(s));
      result_scales_[s.parameter] = chosen(s) ? from_source.get_value<float>() : wire_scales_[s.parameter];
    }
  }
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
  for (size_t i = 0; i < slots; ++i) scaler.note_scale(static_cast<Scaler::Slot>(i), records[0].scales[i]);
  return records;
}

double DataParallel::finish_gradients(std::span<const RankRecord> all) {
  for (const Ticket& ticket : tickets_) ticket.wait();
  tickets_.clear();
  // Each owner tells what it found.
  std::vector<std::vector<ShardResult>> told(static_cast<size_t>(ranks_.processes));
  for (size_t i = 0; i < shards_.size(); ++i)
    told[static_cast<size_t>(process_of(shards_[i]))].push_back(results_[i]);
  std::vector<std::span<std::byte>> parts;
  for (auto& part : told) parts.push_back(std::as_writable_bytes(std::span(part)));
  comm_.run([&](Communicator& comm) {
    all_gather(comm, parts[static_cast<size_t>(ranks_.process)], parts,
               {Traffic::control, "figures of gradients", step_, -1});
  });
  std::vector<size_t> next(told.size());
  double squares = 0;
  bool finite = true;
  std::vector<int64_t> saturated(model_.parameters().all().size());
  for (const Shard& s : shards_) {
    const size_t process = static_cast<size_t>(process_of(s));
    const ShardResult& r = told[process][next[process]++];
    squares += r.squares;
    finite &= r.nonfinite == 0;
    saturated[s.parameter] += r.saturated;
  }
  ParameterSet& parameters = model_.parameters();
  parameters.use_replica(0);
  for (size_t i = 0; i < parameters.all().size(); ++i) {
    Parameter& p = parameters.all()[i];
    if (carries_scale(p.weight_grad.spec.format))
      (zero_ > 1 ? p.summed : p.weight_grad).at.scale = result_scales_[i];
    // Counted in the sum where gradients are also kept by this rule, or only travel by it.
    const bool kept = p.weight_grad.spec.scaling.kind == ScalingKind::automatic;
    if (!kept && p.wire.scaling.kind != ScalingKind::automatic) continue;
    const RoleSpec& rule = kept ? p.weight_grad.spec : p.wire;
    double count = static_cast<double>(saturated[i]), of = static_cast<double>(p.size());
    if (rule.scaling.count == Counting::local) {
      count = 0;
      for (const RankRecord& r : all) count += double{r.saturated[i]};
      of *= ranks_.logical;
    }
    model_.scaler().adapt(kept ? p.weight_grad.slot : p.wire_slot, count / of);
  }
  return finite ? squares : std::numeric_limits<double>::infinity();
}

/// What others need of a shard after its update: where this process has made it, or where it is to go.
std::vector<std::span<std::byte>> DataParallel::payload(const Shard& s, bool made_here) {
  Parameter& p = parameter(s);
  std::vector<std::span<std::byte>> pieces;
  const auto add = [&](std::span<std::byte> piece) {
    if (!piece.empty()) pieces.push_back(piece);
  };
  if (!p.divided) {
    add({static_cast<std::byte*>(p.master.from(s.part.first).data),
         static_cast<size_t>(s.part.count * octavo::bytes(p.master.spec.format))});
    if (carries_scale(p.master.spec.format)) add(std::as_writable_bytes(std::span(&p.master.at.scale, 1)));
    return pieces;
  }
  for (Weight* weight : model_.weights_of(p))
    weight->for_each_payload(s.part, made_here, [&](std::span<std::byte> codes, std::span<float> scales) {
      add(codes);
      add(std::as_writable_bytes(scales));
    });
  return pieces;
}

void DataParallel::spread_weights(Communicator& comm, std::span<const size_t> shards, int64_t index) {
  const size_t processes = static_cast<size_t>(ranks_.processes), own = static_cast<size_t>(ranks_.process);
  std::vector<size_t> size_of(processes);
  Cursor send(send_.as<std::byte>()), receive(receive_.as<std::byte>());
  for (const size_t i : shards)
    for (const auto& piece : payload(shards_[i], mine(shards_[i]))) {
      size_of[static_cast<size_t>(process_of(shards_[i]))] += piece.size();
      if (mine(shards_[i])) send.put(piece);
    }
  std::vector<std::span<std::byte>> in(processes);
  for (size_t source = 0; source < processes; ++source)
    in[source] = {source == own ? send_.as<std::byte>() : receive.take(size_of[source]), size_of[source]};
  all_gather(comm, in[own], in, {Traffic::weight, "all-gather", step_, index});
  for (size_t source = 0; source < processes; ++source) {
    Cursor from_source(in[source].data());
    for (const size_t i : shards) {
      if (static_cast<size_t>(process_of(shards_[i])) != source) continue;
      if (source == own && !on_demand(shards_[i])) continue;  // it is where it was made
      for (const auto& piece : payload(shards_[i], false)) from_source.get(piece);
    }
  }
}

bool DataParallel::on_demand(const Shard& s) const {
  const int group = parameter(s).group;
  return layout_.sharded_weights && parameter(s).divided && group > 0 &&
         group <= static_cast<int>(model_.config().layers);
}

std::vector<size_t> DataParallel::shards_of_block(int block) const {
  std::vector<size_t> found;
  for (size_t i = 0; i < shards_.size(); ++i)
    if (on_demand(shards_[i]) && parameter(shards_[i]).group == block + 1) found.push_back(i);
  return found;
}

void DataParallel::fetch_block(int block) {
  if (block < 0 || resident_[static_cast<size_t>(block % 2)] == block) return;
  resident_[static_cast<size_t>(block % 2)] = block;
  fetched_[static_cast<size_t>(block % 2)] =
      comm_.post([this, block](Communicator& comm) { spread_weights(comm, shards_of_block(block), block); });
}

void DataParallel::need_block(int block, int next) {
  if (!layout_.sharded_weights) return;
  fetch_block(block);
  fetch_block(next);
  fetched_[static_cast<size_t>(block % 2)].wait();
}

void DataParallel::share_weights(int64_t step) {
  if (zero_ == 0 || ranks_.processes == 1) return model_.refresh_weights();
  step_ = step;
  model_.refresh_divided_weights();
  spread_all_weights();
  model_.refresh_whole_weights();
}

void DataParallel::restore_weights() {
  if (zero_ == 0 || ranks_.processes == 1) return model_.requantize_weights();
  // Owners make theirs from their masters; of the masters that all have, each rank makes its own.
  model_.requantize_weights();
  spread_all_weights();
}

void DataParallel::spread_all_weights() {
  std::vector<Ticket> tickets;
  for (size_t i = 0; i < buckets_.size(); ++i)
    tickets.push_back(comm_.post([this, i](Communicator& comm) {
      std::vector<size_t> shards = buckets_[i].shards;
      std::erase_if(shards, [&](size_t shard) { return on_demand(shards_[shard]); });
      spread_weights(comm, shards, static_cast<int64_t>(i));
    }));
  for (const Ticket& ticket : tickets) ticket.wait();
  for (Parameter& p : model_.parameters().all()) {
    if (p.owned.count != p.size()) p.amax = -1;
    if (!p.divided || layout_.sharded_weights) continue;
    for (Weight* weight : model_.weights_of(p)) weight->repack(model_.pass());
  }
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
      if (carries_scale(p.weight_grad.spec.format) && !carries_scale(p.wire.format))
        t.weight_grad += others * int64_t{sizeof(float)};
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

void DataParallel::collect_scales() {
  if (zero_ == 0) return;
  // What the scaler of a tensor's owner remembers of it, for the scaler that is saved.
  std::vector<Scaler::Memory> memories = model_.scaler().snapshot();
  for (const Shard& s : shards_) {
    const Parameter& p = parameter(s);
    if (s.part.count != p.size()) continue;  // slices have no scales
    std::vector<Scaler::Slot> slots;
    for (const StateTensor* t : {&p.master, &p.moment1, &p.moment2})
      if (t->slot >= 0) slots.push_back(t->slot);
    for (const Weight* weight : model_.weights_of(p))
      for (const Scaler::Slot slot : weight->scale_slots()) slots.push_back(slot);
    comm_.run([&](Communicator& comm) {
      for (const Scaler::Slot slot : slots) {
        Scaler::Memory& m = memories[static_cast<size_t>(slot)];
        std::vector<float> flat{m.last_scale, static_cast<float>(m.filled), static_cast<float>(m.next)};
        flat.insert(flat.end(), m.ring.begin(), m.ring.end());
        broadcast(comm, std::as_writable_bytes(std::span(flat)), process_of(s),
                  {Traffic::state, "scales", step_, -1});
        m.last_scale = flat[0];
        m.filled = static_cast<int32_t>(flat[1]);
        m.next = static_cast<int32_t>(flat[2]);
        std::copy(flat.begin() + 3, flat.end(), m.ring.begin());
      }
    });
  }
  model_.scaler().restore(memories);
}

Stored DataParallel::whole(const Parameter& p, const StateTensor& tensor) {
  if (ranks_.processes == 1 || tensor.part.count == p.size()) {
    // On all ranks, or on the one that wants it and no other has a part.
    const bool divided = &tensor == &p.master ? p.divided : zero_ > 0;
    if (ranks_.processes == 1 || !divided) return tensor.at;
  }
  const size_t index =
      static_cast<size_t>(std::find_if(model_.parameters().all().begin(), model_.parameters().all().end(),
                                       [&](const Parameter& other) { return &other == &p; }) -
                          model_.parameters().all().begin());
  const int64_t element = bytes(tensor.spec.format);
  if (has_files()) whole_.resize(static_cast<size_t>(p.size() * element));
  float scale = tensor.at.scale;
  comm_.run([&](Communicator& comm) {
    const Label label{Traffic::state, "collecting a checkpoint", step_, -1};
    for (const Shard& s : shards_) {
      if (s.parameter != index) continue;
      const size_t size = static_cast<size_t>(s.part.count * element);
      const int owner = process_of(s);
      std::byte* const to = whole_.data() + s.part.first * element;
      if (has_files() && mine(s)) {
        std::memcpy(to, tensor.from(s.part.first).data, size);
      } else if (has_files()) {
        receive(comm, {to, size}, owner, label);
        receive(comm, std::as_writable_bytes(std::span(&scale, 1)), owner, label);
      } else if (mine(s)) {
        send(comm, bytes_at(tensor.from(s.part.first).data, size), 0, label);
        send(comm, std::as_bytes(std::span(&scale, 1)), 0, label);
      }
    }
  });
  return {whole_.data(), tensor.spec.format, scale};
}

void DataParallel::share(std::span<std::byte> data) {
  if (ranks_.processes == 1 || data.empty()) return;
  comm_.run([&](Communicator& comm) {
    broadcast(comm, data, 0, {Traffic::state, "sharing a state", step_, -1});
  });
}

}  // namespace octavo
