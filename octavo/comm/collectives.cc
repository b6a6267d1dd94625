// SPDX-License-Identifier: Apache-2.0
#include "octavo/comm/collectives.h"

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace octavo {
namespace {

Label named(Label label, const char* operation) {
  if (!label.operation) label.operation = operation;
  return label;
}

using Out = std::vector<std::span<const std::byte>>;
using In = std::vector<std::span<std::byte>>;
size_t ranks(const Communicator& comm) { return static_cast<size_t>(comm.size()); }

size_t checked(const Communicator& comm, int rank) {
  if (rank < 0 || rank >= comm.size())
    throw std::logic_error("rank " + std::to_string(rank) + " of " + std::to_string(comm.size()));
  return static_cast<size_t>(rank);
}

// [rank][value] -> [value], visiting ranks in order on every rank.
template <class T, class Combine>
void reduce(Communicator& comm, std::span<T> values, const Label& label, Combine combine) {
  if (values.empty()) return;
  std::vector<T> all(values.size() * ranks(comm));
  all_gather(comm, std::as_bytes(values), std::as_writable_bytes(std::span<T>(all)), label);
  for (size_t i = 0; i < values.size(); ++i) {
    T result = all[i];
    for (size_t r = 1; r < ranks(comm); ++r) result = combine(result, all[r * values.size() + i]);
    values[i] = result;
  }
}

}  // namespace

void all_to_all(Communicator& comm, SendParts out, ReceiveParts in, Label label) {
  comm.exchange(out, in, named(label, "all-to-all"));
}

void all_gather(Communicator& comm, std::span<const std::byte> own, ReceiveParts parts, Label label) {
  const Out out(ranks(comm), own);
  comm.exchange(out, parts, named(label, "all-gather"));
}

void all_gather(Communicator& comm, std::span<const std::byte> own, std::span<std::byte> all, Label label) {
  if (all.size() != own.size() * ranks(comm))
    throw std::logic_error("all-gather: room for " + std::to_string(all.size()) + " bytes, " +
                           std::to_string(comm.size()) + " times " + std::to_string(own.size()) + " come");
  In parts;
  for (size_t r = 0; r < ranks(comm); ++r) parts.push_back(all.subspan(r * own.size(), own.size()));
  all_gather(comm, own, parts, label);
}

void broadcast(Communicator& comm, std::span<std::byte> data, int root, Label label) {
  const size_t from = checked(comm, root);
  Out out(ranks(comm));
  In in(ranks(comm));
  if (comm.rank() == root) out.assign(ranks(comm), data);
  in[from] = data;
  comm.exchange(out, in, named(label, "broadcast"));
}

void gather(Communicator& comm, std::span<const std::byte> own, ReceiveParts parts, int root, Label label) {
  Out out(ranks(comm));
  out[checked(comm, root)] = own;
  const In nothing(ranks(comm));
  comm.exchange(out, comm.rank() == root ? parts : ReceiveParts(nothing), named(label, "gather"));
}

void send(Communicator& comm, std::span<const std::byte> data, int to, Label label) {
  if (to == comm.rank()) throw std::logic_error("send to the own rank");
  Out out(ranks(comm));
  out[checked(comm, to)] = data;
  const In in(ranks(comm));
  comm.exchange(out, in, named(label, "send"));
}

void receive(Communicator& comm, std::span<std::byte> data, int from, Label label) {
  if (from == comm.rank()) throw std::logic_error("receive from the own rank");
  const Out out(ranks(comm));
  In in(ranks(comm));
  in[checked(comm, from)] = data;
  // The same name on both sides: labels are compared.
  comm.exchange(out, in, named(label, "send"));
}

void barrier(Communicator& comm, Label label) {
  (void)all_gather_value(comm, char{1}, named(label, "barrier"));
}

void all_reduce_max(Communicator& comm, std::span<float> values, Label label) {
  reduce(comm, values, named(label, "all-reduce max"), [](float a, float b) {
    if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<float>::quiet_NaN();
    return a < b ? b : a;
  });
}

void all_reduce_sum(Communicator& comm, std::span<double> values, Label label) {
  reduce(comm, values, named(label, "all-reduce sum"), [](double a, double b) { return a + b; });
}

}  // namespace octavo
