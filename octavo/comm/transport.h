// SPDX-License-Identifier: Apache-2.0
// What moves the bytes below a Communicator: one process, threads, or MPI in a plugin. Header only, see
// progress.h.
#pragma once
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>

#include "octavo/comm/progress.h"

namespace octavo {

using SendParts = std::span<const std::span<const std::byte>>;  ///< [rank]: what goes there
using ReceiveParts = std::span<const std::span<std::byte>>;     ///< [rank]: where what comes from there goes

/// The bytes did not arrive: what the library or the other rank said.
class TransportFailure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// All calls from one thread, the one that created it.
class Transport {
 public:
  virtual ~Transport() = default;  ///< without close(): the job is not ended in order
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual std::string host() const = 0;  ///< of this rank

  /// Sends out[p] to rank p and receives in[p] from rank p; both sides give the same sizes, nothing travels
  /// for empty ones, the own rank's entries are ignored. Keeps the flags of `progress` for each rank. Throws
  /// TransportFailure, also when progress.ending() becomes non-zero and the job does not end itself.
  virtual void transfer(SendParts out, ReceiveParts in, Progress& progress) = 0;

  /// Leaves in order, when all ranks do. Waits for them.
  virtual void close() = 0;
  /// Ends the whole job with exit code `code`; may return if it cannot.
  virtual void abort(int code) noexcept = 0;
};

using TransportFactory = std::function<std::unique_ptr<Transport>(Progress&)>;

/// The one function of a plugin. Returns null and writes why to `error` (at most `room` bytes, ends with 0).
/// The number changes with Transport; `progress_size` is sizeof(Progress) of the program, which a plugin of
/// another build refuses.
#define OCTAVO_TRANSPORT_ENTRY octavo_open_transport_1
using TransportEntry = Transport* (*)(Progress& progress, std::size_t progress_size, char* error,
                                      std::size_t room);

}  // namespace octavo
