// SPDX-License-Identifier: Apache-2.0
// State that lies on several processes, brought to the one that writes files, and back.
#include <algorithm>
#include <cstring>

#include "octavo/comm/collectives.h"
#include "octavo/train/data_parallel.h"

namespace octavo {
namespace {

std::span<const std::byte> bytes_at(const void* data, size_t size) {
  return {static_cast<const std::byte*>(data), size};
}

}  // namespace

void DataParallel::collect_scales() {
  if (zero_ == 0) return;
  // What the scaler of a tensor's owner remembers of it, for the scaler that is saved.
  std::vector<Scaler::Memory> memories = model_.scaler().snapshot();
  for (const Shard& s : shards_) {
    const Parameter& p = parameter(s);
    if (s.part.count != p.size()) continue;  // slices have no scales
    const std::vector<Scaler::Slot> slots = slots_of_owner(p);
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
