// SPDX-License-Identifier: Apache-2.0
// Bytes between the ranks of a run. Everything rests on one primitive, exchange(); collectives.h has the
// rest. Sums are not made here: bytes travel, each rank adds in rank order, so results do not depend on the
// engine.
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "octavo/comm/label.h"
#include "octavo/comm/traffic.h"
#include "octavo/comm/transport.h"

namespace octavo {

struct CommOptions {
  double deadline = 600;  ///< seconds an exchange may take; 0: any time
  double start = 60;      ///< the least of the start: launchers and busy machines take longer
  const std::atomic<bool>* stop = nullptr;  ///< set when the process was told to stop (SIGTERM)
  /// Seconds an exchange may go on after that. mpirun kills what is left a second after SIGTERM, so the
  /// message must be out by then; where ranks shall save first, give them longer (docs/distributed.md).
  double stop_grace = 0.5;
  /// Before each exchange ranks compare where they are, behind it checksums; on for all ranks if it is on for
  /// one.
  bool check = false;
  std::string fault{};  ///< faults to inject, faulty_transport.h
  /// Instead of printing the message and ending the process, for tests. Called once, from any thread; what
  /// waits then throws.
  std::function<void(const std::string& message)> end{};
};

class Watchdog;

/// All calls from one thread, the one that constructed it (comm_thread.h keeps one).
class Communicator {
 public:
  /// Opens the transport and greets all ranks: host names are exchanged, builds compared. Throws unsupported
  /// if ranks run different builds.
  Communicator(const TransportFactory& open, const CommOptions& options);
  /// Without close() the other ranks are left waiting, and an MPI job is ended by its launcher.
  ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  const std::string& host(int rank) const { return hosts_[static_cast<size_t>(rank)]; }
  /// "rank 2 (host b)".
  std::string describe(int rank) const;

  /// Sends out[p] to rank p and receives in[p] from rank p. out and in have size() entries; both sides know
  /// the sizes; an empty span means nothing, and two ranks that have nothing for each other need not both
  /// call. in[rank()] becomes a copy of out[rank()], which may be the same memory. Returns when all is done.
  /// Throws communication when the job is being ended and `options.end` let this process live.
  void exchange(SendParts out, ReceiveParts in, const Label& label);

  /// Leaves in order; waits for the other ranks, which must do the same. Nothing may be exchanged afterwards.
  void close();
  /// Prints `why` and ends the job on all ranks with exit code `code`. From any thread; at once from the one
  /// that communicates, within seconds from others.
  [[noreturn]] void abort(int code, const std::string& why);

  TrafficCounters& traffic() { return traffic_; }
  const TrafficCounters& traffic() const { return traffic_; }

 private:
  void transfer(SendParts out, ReceiveParts in);
  void greet(bool check);
  [[noreturn]] void end_job(int code, const std::string& why);
  std::vector<uint64_t> compare_headers(SendParts out, ReceiveParts in, const Label& label);
  void compare_checksums(ReceiveParts in, const std::vector<uint64_t>& expected, const Label& label);

  const std::thread::id owner_ = std::this_thread::get_id();
  const CommOptions options_;
  Progress progress_;
  std::unique_ptr<Watchdog> watchdog_;  // before the transport: it sees the transport start and end
  std::unique_ptr<Transport> transport_;
  int rank_ = 0, size_ = 1;
  std::vector<std::string> hosts_;
  bool check_ = false;
  int64_t exchanges_ = 0;
  TrafficCounters traffic_;
};

}  // namespace octavo
