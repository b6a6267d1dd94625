// SPDX-License-Identifier: Apache-2.0
#include "octavo/comm/communicator.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <string_view>

#include "octavo/base/checksum.h"
#include "octavo/base/error.h"
#include "octavo/base/version.h"
#include "octavo/comm/faulty_transport.h"
#include "octavo/comm/watchdog.h"

namespace octavo {
namespace {

// What ranks tell each other first. Of one size, whatever build a rank runs.
struct Greeting {
  std::array<char, 64> host{}, build{};
  uint8_t check = 0;
};

// What two ranks say of an exchange before it, each from its own side.
struct Header {
  int64_t number = 0, step = 0, bucket = 0, send = 0, receive = 0;
  uint64_t checksum = 0;  // of what is sent
  Traffic role{};
  std::array<char, 40> operation{};
};

template <size_t N>
void store(std::array<char, N>& to, std::string_view text) {
  std::copy_n(text.data(), std::min(text.size(), N - 1), to.data());
}

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span<const T, 1>(&value, 1));
}
template <class T>
std::span<std::byte> writable_bytes_of(T& value) {
  return std::as_writable_bytes(std::span<T, 1>(&value, 1));
}

std::string header_text(const Header& h) {
  return fmt::format("exchange {}, {}, sending {} bytes and expecting {}", h.number,
                     label_text({h.role, h.operation.data(), h.step, h.bucket}), h.send, h.receive);
}

}  // namespace

Communicator::Communicator(const TransportFactory& open, const CommOptions& options)
    : options_(options), watchdog_(std::make_unique<Watchdog>(progress_, options)) {
  progress_.begin(-1, {.operation = "the start of the communication"}, 0,
                  options.deadline > 0 ? std::max(options.deadline, options.start) : 0);
  transport_ = open(progress_);
  progress_.end();
  if (!options.fault.empty()) transport_ = with_faults(std::move(transport_), options.fault);
  rank_ = transport_->rank();
  size_ = transport_->size();
  progress_.resize(size_);
  hosts_.resize(static_cast<size_t>(size_));
  hosts_[static_cast<size_t>(rank_)] = transport_->host();
  watchdog_->introduce(rank_, hosts_);
  greet(options.check);
}

Communicator::~Communicator() = default;

std::string Communicator::describe(int rank) const { return watchdog_->describe(rank); }

void Communicator::greet(bool check) {
  Greeting mine;
  store(mine.host, hosts_[static_cast<size_t>(rank_)]);
  store(mine.build, fmt::format("{} ({}, {})", version(), commit(), compiler()));
  mine.check = check;
  std::vector<Greeting> all(static_cast<size_t>(size_), mine);
  std::vector<std::span<const std::byte>> out(static_cast<size_t>(size_), bytes_of(mine));
  std::vector<std::span<std::byte>> in;
  for (Greeting& greeting : all) in.push_back(writable_bytes_of(greeting));
  exchange(out, in, {Traffic::control, "greeting", -1, -1});
  traffic_.reset();
  for (int p = 0; p < size_; ++p) {
    Greeting& g = all[static_cast<size_t>(p)];
    g.host.back() = g.build.back() = 0;  // whatever arrived
    hosts_[static_cast<size_t>(p)] = g.host.data();
    check_ = check_ || g.check;
  }
  watchdog_->introduce(rank_, hosts_);
  for (int p = 0; p < size_; ++p) {
    const Greeting& g = all[static_cast<size_t>(p)];
    if (std::strcmp(g.build.data(), mine.build.data()) != 0)
      fail_unsupported(fmt::format("{} runs octavo {}, but {} runs {}: all ranks need the same build",
                                   describe(rank_), mine.build.data(), describe(p), g.build.data()));
  }
}

void Communicator::exchange(SendParts out, ReceiveParts in, const Label& given) {
  Label label = given;
  if (!label.operation) label.operation = "exchange";
  const size_t own = static_cast<size_t>(rank_);
  if (out.size() != static_cast<size_t>(size_) || in.size() != static_cast<size_t>(size_))
    throw std::logic_error(fmt::format("{}: {} parts out and {} in for {} ranks", label_text(label),
                                       out.size(), in.size(), size_));
  if (out[own].size() != in[own].size())
    throw std::logic_error(
        fmt::format("{}: keeps {} bytes in room for {}", label_text(label), out[own].size(), in[own].size()));
  int64_t sent = 0;
  for (size_t p = 0; p < out.size(); ++p) sent += p == own ? 0 : static_cast<int64_t>(out[p].size());
  progress_.begin(exchanges_++, label, sent);
  std::vector<uint64_t> checksums;
  if (check_) checksums = compare_headers(out, in, label);
  if (in[own].data() != out[own].data() && !in[own].empty())
    std::memmove(in[own].data(), out[own].data(), in[own].size());
  transfer(out, in);
  if (check_) compare_checksums(in, checksums, label);
  progress_.end();
  traffic_.add(label, sent);
}

void Communicator::transfer(SendParts out, ReceiveParts in) {
  try {
    transport_->transfer(out, in, progress_);
  } catch (const TransportFailure& failure) {
    const Progress::Snapshot s = progress_.snapshot();
    end_job(static_cast<int>(ExitCode::communication),
            fmt::format("{}: {} failed, waiting{}: {}", watchdog_->self(), label_text(s.now.label),
                        watchdog_->missing(s), failure.what()));
  }
}

// Only between ranks that have something for each other, as in the exchange itself: the others may be
// somewhere else. Returns the checksums of what is to come.
std::vector<uint64_t> Communicator::compare_headers(SendParts out, ReceiveParts in, const Label& label) {
  const size_t n = out.size();
  std::vector<Header> mine(n), theirs(n);
  std::vector<std::span<const std::byte>> to(n);
  std::vector<std::span<std::byte>> from(n);
  for (size_t p = 0; p < n; ++p) {
    if (p == static_cast<size_t>(rank_) || (out[p].empty() && in[p].empty())) continue;
    mine[p] = {progress_.number(),
               label.step,
               label.bucket,
               static_cast<int64_t>(out[p].size()),
               static_cast<int64_t>(in[p].size()),
               checksum64(out[p].data(), out[p].size()),
               label.role,
               {}};
    store(mine[p].operation, label.operation);
    to[p] = bytes_of(mine[p]);
    from[p] = writable_bytes_of(theirs[p]);
  }
  progress_.set_checking(true);
  transfer(to, from);
  progress_.set_checking(false);
  std::vector<uint64_t> checksums(n);
  for (size_t p = 0; p < n; ++p) {
    if (to[p].empty()) continue;
    const Header &a = mine[p], &b = theirs[p];
    theirs[p].operation.back() = 0;
    checksums[p] = b.checksum;
    if (a.step == b.step && a.bucket == b.bucket && a.send == b.receive && a.receive == b.send &&
        a.role == b.role && a.operation == b.operation)
      continue;
    end_job(static_cast<int>(ExitCode::communication),
            fmt::format("{} and {} are not in the same exchange: the first is in {}; the second in {}",
                        watchdog_->self(), describe(static_cast<int>(p)), header_text(a), header_text(b)));
  }
  return checksums;
}

void Communicator::compare_checksums(ReceiveParts in, const std::vector<uint64_t>& expected,
                                     const Label& label) {
  for (size_t p = 0; p < in.size(); ++p)
    if (p != static_cast<size_t>(rank_) && !in[p].empty() &&
        checksum64(in[p].data(), in[p].size()) != expected[p])
      end_job(static_cast<int>(ExitCode::communication),
              fmt::format("{}: what came from {} in exchange {}, {}, is not what was sent: its {} bytes have "
                          "another checksum",
                          watchdog_->self(), describe(static_cast<int>(p)), progress_.number(),
                          label_text(label), in[p].size()));
}

void Communicator::close() {
  // Others may still compute, the exchange waits for them; after it only MPI itself can take long. It may
  // hang: UCX over TCP does (github.com/openucx/ucx/issues/8738).
  constexpr double kLimit = 30;
  const std::byte ready{1};
  std::vector<std::byte> all(static_cast<size_t>(size_));
  std::vector<std::span<const std::byte>> out(static_cast<size_t>(size_), bytes_of(ready));
  std::vector<std::span<std::byte>> in;
  for (std::byte& b : all) in.push_back(writable_bytes_of(b));
  exchange(out, in, {Traffic::control, "farewell", -1, -1});
  const double limit = options_.deadline > 0 ? std::min(options_.deadline, kLimit) : kLimit;
  progress_.begin(-1, {.operation = "all is exchanged, but the end of MPI"}, 0, limit);
  transport_->close();
  progress_.end();
}

void Communicator::abort(int code, const std::string& why) {
  end_job(code, fmt::format("{}: {}", watchdog_->self(), why));
}

void Communicator::end_job(int code, const std::string& why) {
  watchdog_->announce(code, why);
  if (options_.end) throw Error(ExitCode::communication, watchdog_->message());
  if (std::this_thread::get_id() == owner_) {
    // mpiexec of MPICH throws away what it has not forwarded yet.
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    transport_->abort(progress_.ending());  // the code of whoever announced first
  }
  watchdog_->end_process(progress_.ending());
}

}  // namespace octavo
