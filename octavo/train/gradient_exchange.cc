// SPDX-License-Identifier: Apache-2.0
// Gradients of all ranks become those of which the update is made.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "octavo/comm/collectives.h"
#include "octavo/kernels/sum_codes.h"
#include "octavo/train/cursor.h"
#include "octavo/train/data_parallel.h"

namespace octavo {
namespace {

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

bool DataParallel::shares_scale(const Parameter& p) const {
  return carries_scale(p.wire.format) && from_data(p.wire);
}

bool DataParallel::chooses_scale(const Parameter& p) const {
  return carries_scale(p.weight_grad.spec.format) && p.wire.format != p.weight_grad.spec.format;
}

/// The seed of what a gradient draws on its way: for each tensor and micro-batch another one.
uint64_t DataParallel::draw(size_t parameter, Scaler::Slot slot) const {
  const size_t number =
      slot >= 0 ? static_cast<size_t>(slot) : static_cast<size_t>(model_.scaler().size()) + parameter;
  return model_.pass().seed ^ (static_cast<uint64_t>(micro_) << 20) ^ static_cast<uint64_t>(number);
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
      wire_scales_[number] = fixed_scale(p.wire);
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
  all_reduce_max(comm, wanted, {Traffic::scale, "largest", step_, index});
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
        const CodeRule rule{
            p.wire.rounding, p.wire.overflow,
            draw(s.parameter, p.wire_slot) ^ (static_cast<uint64_t>(ranks_.first() + r + 1) << 44),
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
                      draw(s.parameter, p.weight_grad.slot) ^ 0x5851F42D4C957F2Dull,
                      static_cast<uint64_t>(s.part.first)};
  const CodeSum how = code_sum(model_.recipe().reduce.sum);
  const bool scaled = carries_scale(out.format), wire_scaled = carries_scale(p.wire.format);
  Encoded encoded;
  if (micro_ == 0 && scaled && !chooses_scale(p)) {
    encoded = sum_codes(parts, p.wire.format, n, how, 1.0f, {out.data, out.format, 1}, rule, alone_);
    out.scale = wire;
  } else if (micro_ == 0 && !scaled) {
    encoded = sum_codes(parts, p.wire.format, n, how, wire, out, rule, alone_);
  } else {
    // By pieces, twice where the scale is not known before: that takes no memory which grows with the tensor.
    const Stored earlier{out.data, out.format, result_scales_[s.parameter]};
    const auto larger = [](float a, float b) { return std::isnan(a) || a > b ? a : b; };
    const auto for_pieces = [&](auto use) {
      for (int64_t first = 0; first < n; first += kPiece) {
        const int64_t count = std::min(kPiece, n - first);
        for (size_t r = 0; r < parts.size(); ++r)
          piece_of_[r] = static_cast<const std::byte*>(parts[r]) + first * octavo::bytes(p.wire.format);
        const Encoded passing = sum_codes(piece_of_, p.wire.format, count, how, wire_scaled ? wire : 1.0f,
                                          {sums_.data()}, {}, alone_);
        if (micro_ > 0) {
          decode(from(earlier, first), count, earlier_.data(), alone_);
          for (size_t i = 0; i < static_cast<size_t>(count); ++i) sums_[i] = earlier_[i] + sums_[i];
        }
        use(first, count, passing);
      }
    };
    if (scaled) {
      float largest = 0;
      for_pieces([&](int64_t, int64_t count, const Encoded&) {
        largest = larger(octavo::amax(Stored{sums_.data()}, count, alone_), largest);
      });
      out.scale = scale_of_sum(p, largest);
    }
    for_pieces([&](int64_t first, int64_t count, const Encoded& passing) {
      CodeRule at = rule;
      at.first += static_cast<uint64_t>(first);
      const Encoded piece = encode(sums_.data(), count, from(out, first), at, alone_);
      encoded.amax = larger(piece.amax, encoded.amax);
      encoded.saturated += passing.saturated + piece.saturated;
    });
  }
  result_scales_[s.parameter] = out.scale;
  ShardResult& result = results_[shard];
  // The worst micro-batch: sums of the later ones have scales of their own.
  result.saturated = std::max(result.saturated, encoded.saturated);
  int64_t sent = 0;
  if (p.wire.scaling.kind == ScalingKind::automatic && p.wire_slot != p.weight_grad.slot)
    for (const void* part : parts) sent += count_largest(part, p.wire.format, n);
  result.sent_saturated = std::max(result.sent_saturated, sent);
  result.nonfinite += !std::isfinite(encoded.amax) || !std::isfinite(wire);
  result.squares = octavo::sum_squares(out, n, alone_);
}

float DataParallel::scale_of_sum(const Parameter& p, float largest) const {
  const RoleSpec& kept = p.weight_grad.spec;
  if (from_data(kept))
    return scale_from_amax(kept, largest / model_.scaler().mu(p.weight_grad.slot)).value_or(1);
  return fixed_scale(kept);
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
  const auto chosen = [&](const Shard& s) { return chooses_scale(parameter(s)); };
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

double DataParallel::finish_gradients() {
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
  sent_saturated_.assign(saturated.size(), 0);
  for (const Shard& s : shards_) {
    const size_t process = static_cast<size_t>(process_of(s));
    const ShardResult& r = told[process][next[process]++];
    squares += r.squares;
    finite &= r.nonfinite == 0;
    saturated[s.parameter] += r.saturated;
    sent_saturated_[s.parameter] += r.sent_saturated;
  }
  ParameterSet& parameters = model_.parameters();
  parameters.use_replica(0);
  for (size_t i = 0; i < parameters.all().size(); ++i) {
    Parameter& p = parameters.all()[i];
    if (carries_scale(p.weight_grad.spec.format))
      (zero_ > 1 ? p.summed : p.weight_grad).at.scale = result_scales_[i];
    p.grad_saturated = saturated[i];
  }
  return finite ? squares : std::numeric_limits<double>::infinity();
}

}  // namespace octavo
