// SPDX-License-Identifier: Apache-2.0
// Every collective with contents that name sender, receiver and place, for any engine and number of ranks.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "octavo/comm/collectives.h"

namespace octavo {

using Bytes = std::vector<std::byte>;

/// What rank `from` sends to rank `to`.
inline Bytes pattern(int from, int to, size_t size) {
  Bytes bytes(size);
  uint64_t state = static_cast<uint64_t>(from * 1000 + to + 1) * 0x9E3779B97F4A7C15u;
  for (std::byte& b : bytes) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    b = static_cast<std::byte>(state >> 56);
  }
  return bytes;
}

/// "" or the first thing that is wrong. `scale` makes the messages longer.
inline std::string check_collectives(Communicator& comm, size_t scale = 1) {
  const int n = comm.size(), me = comm.rank();
  const auto ranks = static_cast<size_t>(n);
  const auto at = [](int rank) { return static_cast<size_t>(rank); };
  // Different for each pair, zero for some.
  const auto pair_size = [&](int from, int to) {
    return scale * static_cast<size_t>((from * 7 + to * 3) % 5 * 100 + from);
  };
  const auto rank_size = [&](int from) { return scale * static_cast<size_t>(from * 33); };
  int64_t all_to_all_bytes = 0;
  comm.traffic().reset();

  {
    std::vector<Bytes> out, in;
    for (int p = 0; p < n; ++p) {
      out.push_back(pattern(me, p, pair_size(me, p)));
      in.emplace_back(pair_size(p, me));
      if (p != me) all_to_all_bytes += static_cast<int64_t>(pair_size(me, p));
    }
    const std::vector<std::span<const std::byte>> from(out.begin(), out.end());
    const std::vector<std::span<std::byte>> to(in.begin(), in.end());
    all_to_all(comm, from, to, {Traffic::weight_grad, nullptr, 7, 3});
    for (int p = 0; p < n; ++p)
      if (in[at(p)] != pattern(p, me, pair_size(p, me)))
        return "all_to_all: part of rank " + std::to_string(p);
    if (comm.traffic().bytes(Traffic::weight_grad, "all-to-all") != all_to_all_bytes)
      return "all_to_all: counter";
  }
  {
    const Bytes own = pattern(me, 0, 1000 * scale);
    Bytes all(own.size() * ranks);
    all_gather(comm, own, all, {.role = Traffic::weight});
    for (int p = 0; p < n; ++p)
      if (std::memcmp(all.data() + at(p) * own.size(), pattern(p, 0, own.size()).data(), own.size()) != 0)
        return "all_gather: part of rank " + std::to_string(p);
    if (comm.traffic().bytes(Traffic::weight) != static_cast<int64_t>(own.size()) * (n - 1))
      return "all_gather: counter";
  }
  {
    // Own part in place.
    std::vector<Bytes> parts;
    for (int p = 0; p < n; ++p) parts.emplace_back(rank_size(p));
    parts[at(me)] = pattern(me, 1, rank_size(me));
    const std::vector<std::span<std::byte>> spans(parts.begin(), parts.end());
    all_gather(comm, parts[at(me)], spans, {Traffic::weight, "all-gather v", 1, 2});
    for (int p = 0; p < n; ++p)
      if (parts[at(p)] != pattern(p, 1, rank_size(p)))
        return "all_gather of different sizes: rank " + std::to_string(p);
    if (comm.traffic().bytes(Traffic::weight, "all-gather v") !=
        static_cast<int64_t>(rank_size(me)) * (n - 1))
      return "all_gather of different sizes: counter";
  }
  for (int root = 0; root < n; ++root) {
    Bytes data = me == root ? pattern(root, 2, 5000 * scale) : Bytes(5000 * scale);
    broadcast(comm, data, root, {.role = Traffic::state});
    if (data != pattern(root, 2, 5000 * scale)) return "broadcast from rank " + std::to_string(root);

    const Bytes own = pattern(me, 3, rank_size(me));
    std::vector<Bytes> parts;
    for (int p = 0; p < n; ++p) parts.emplace_back(rank_size(p));
    const std::vector<std::span<std::byte>> spans(parts.begin(), parts.end());
    gather(comm, own, spans, root, {.role = Traffic::state});
    for (int p = 0; p < n && me == root; ++p)
      if (parts[at(p)] != pattern(p, 3, rank_size(p))) return "gather to rank " + std::to_string(root);
  }
  if (comm.traffic().bytes(Traffic::state, "broadcast") != static_cast<int64_t>(5000 * scale) * (n - 1))
    return "broadcast: counter";
  if (comm.traffic().bytes(Traffic::state, "gather") != static_cast<int64_t>(rank_size(me)) * (n - 1))
    return "gather: counter";
  if (n > 1) {
    // Only two take part.
    Bytes data(700 * scale);
    if (me == 0) send(comm, pattern(0, n - 1, data.size()), n - 1, {.role = Traffic::state});
    if (me == n - 1) {
      receive(comm, data, 0, {.role = Traffic::state});
      if (data != pattern(0, n - 1, data.size())) return "send and receive";
    }
  }
  {
    std::vector<float> values{static_cast<float>(me), -1.0f - static_cast<float>(me), 0.0f, 5.0f};
    values[2] =
        me == n - 1 ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity();
    all_reduce_max(comm, values, {.role = Traffic::scale});
    if (values[0] != static_cast<float>(n - 1) || values[1] != -1.0f || !std::isnan(values[2]) ||
        values[3] != 5.0f)
      return "all_reduce_max";
    if (comm.traffic().bytes(Traffic::scale) != 16 * (n - 1)) return "all_reduce_max: counter";
  }
  {
    // In any other order the small ones vanish differently.
    std::vector<double> values{me % 2 ? 1e16 : 1.0, 0.1 * (me + 1)};
    double expected[2] = {1.0, 0.1};
    for (int p = 1; p < n; ++p) {
      expected[0] += p % 2 ? 1e16 : 1.0;
      expected[1] += 0.1 * (p + 1);
    }
    all_reduce_sum(comm, values, {.role = Traffic::control, .step = 4});
    if (values[0] != expected[0] || values[1] != expected[1]) return "all_reduce_sum";
  }
  barrier(comm, {});
  if (comm.traffic().bytes(Traffic::control, "barrier") != n - 1) return "barrier: counter";
  const std::vector<int> order = all_gather_value(comm, me * 10, {});
  for (int p = 0; p < n; ++p)
    if (order[at(p)] != p * 10) return "all_gather_value";
  return "";
}

}  // namespace octavo
