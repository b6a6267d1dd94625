// SPDX-License-Identifier: Apache-2.0
// What ranks do together, from Communicator::exchange alone: the same for every engine. All ranks call the
// same functions in the same order with the same labels. A label without an operation gets the name of the
// collective. Bytes below are those one rank sends to others, of n ranks.
#pragma once
#include <cstddef>
#include <span>
#include <type_traits>
#include <vector>

#include "octavo/comm/communicator.h"

namespace octavo {

/// Rank p receives out[p] of every rank r as its in[r].
void all_to_all(Communicator& comm, SendParts out, ReceiveParts in, Label label);

/// parts[r] of every rank becomes `own` of rank r, whose size may differ between ranks but is known to all.
/// parts[rank] may be `own` itself. Sends (n-1) * own bytes.
void all_gather(Communicator& comm, std::span<const std::byte> own, ReceiveParts parts, Label label);
/// Equal sizes, one after the other: `all` has n * own.size() bytes.
void all_gather(Communicator& comm, std::span<const std::byte> own, std::span<std::byte> all, Label label);
/// A small value of every rank, in rank order.
template <class T>
std::vector<T> all_gather_value(Communicator& comm, const T& own, const Label& label) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::vector<T> all(static_cast<size_t>(comm.size()));
  all_gather(comm, std::as_bytes(std::span<const T, 1>(&own, 1)), std::as_writable_bytes(std::span<T>(all)),
             label);
  return all;
}

/// `data` of the root becomes that of all. The root sends (n-1) * data bytes.
void broadcast(Communicator& comm, std::span<std::byte> data, int root, Label label);

/// parts[r] on the root becomes `own` of rank r; elsewhere `parts` is not looked at.
void gather(Communicator& comm, std::span<const std::byte> own, ReceiveParts parts, int root, Label label);
/// To one rank, which calls receive; the others take no part.
void send(Communicator& comm, std::span<const std::byte> data, int to, Label label);
void receive(Communicator& comm, std::span<std::byte> data, int from, Label label);

/// Returns when all have called. Sends n-1 bytes.
void barrier(Communicator& comm, Label label);

/// values[i] = the largest of all ranks, the same bits on all of them; NaN if any is. Sends 4 (n-1) bytes a
/// value: for scales, not for tensors.
void all_reduce_max(Communicator& comm, std::span<float> values, Label label);
/// values[i] = ((v0 + v1) + v2) + ... in rank order, the same bits on all. Sends 8 (n-1) bytes a value.
void all_reduce_sum(Communicator& comm, std::span<double> values, Label label);

}  // namespace octavo
