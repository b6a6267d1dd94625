// SPDX-License-Identifier: Apache-2.0
// Updated weights go from their owners to those who compute with them.
#include <algorithm>

#include "octavo/comm/collectives.h"
#include "octavo/train/cursor.h"
#include "octavo/train/data_parallel.h"

namespace octavo {

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
  resident_ = {-1, -1};  // what is here of other ranks' blocks is from before
  if (zero_ == 0 || ranks_.processes == 1) return model_.refresh_weights();
  step_ = step;
  model_.refresh_divided_weights();
  spread_all_weights();
  model_.refresh_whole_weights();
}

void DataParallel::restore_weights() {
  resident_ = {-1, -1};
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

}  // namespace octavo
