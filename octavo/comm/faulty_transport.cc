// SPDX-License-Identifier: Apache-2.0
#include "octavo/comm/faulty_transport.h"

#include <signal.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <cmath>
#include <thread>
#include <utility>

#include "octavo/base/error.h"
#include "octavo/base/quote_name.h"
#include "octavo/base/suggest.h"

namespace octavo {
namespace {

const std::vector<std::string> kKinds{"delay", "hang", "exit", "kill", "flip"};

template <class T>
T number(const std::string& key, std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !(value >= T{}) ||
      !std::isfinite(static_cast<double>(value)))
    fail_usage("fault: " + key + " is " + quote_name(text) + ", which is not a number from 0 on");
  return value;
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(at, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

Fault parse_fault(const std::string& text) {
  Fault fault;
  bool has_rank = false, has_kind = false, has_seconds = false;
  for (const std::string& part : split(text, ',')) {
    const size_t equals = part.find('=');
    if (equals == std::string::npos)
      fail_usage("fault: " + quote_name(part) +
                 " is not KEY=VALUE, as in rank=1,at=12,kind=delay,seconds=0.5");
    const std::string key = part.substr(0, equals), value = part.substr(equals + 1);
    if (key == "rank") {
      fault.rank = number<int>(key, value);
      has_rank = true;
    } else if (key == "at") {
      fault.at = number<int64_t>(key, value);
    } else if (key == "seconds") {
      fault.seconds = number<double>(key, value);
      has_seconds = true;
    } else if (key == "kind") {
      size_t kind = 0;
      while (kind < kKinds.size() && kKinds[kind] != value) ++kind;
      if (kind == kKinds.size())
        fail_usage("fault: unknown kind " + quote_name(value) + did_you_mean(value, kKinds));
      fault.kind = static_cast<Fault::Kind>(kind);
      has_kind = true;
    } else {
      fail_usage("fault: unknown key " + quote_name(key) +
                 did_you_mean(key, {"rank", "at", "kind", "seconds"}));
    }
  }
  if (!has_rank || !has_kind) fail_usage("fault: " + quote_name(text) + " needs rank= and kind=");
  if (has_seconds != (fault.kind == Fault::Kind::delay))
    fail_usage("fault: " + quote_name(text) + ": seconds= belongs to kind=delay, and to no other");
  return fault;
}

class FaultyTransport final : public Transport {
 public:
  FaultyTransport(std::unique_ptr<Transport> inner, std::vector<Fault> faults)
      : inner_(std::move(inner)), faults_(std::move(faults)) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string host() const override { return inner_->host(); }
  void close() override { inner_->close(); }
  void abort(int code) noexcept override { inner_->abort(code); }

  void transfer(SendParts out, ReceiveParts in, Progress& progress) override {
    for (Fault& fault : faults_)
      if (fault.kind != Fault::Kind::flip && fault.at == progress.number())
        act(std::exchange(fault, {0, -1}), progress);
    inner_->transfer(out, in, progress);
    for (Fault& fault : faults_)
      if (fault.kind == Fault::Kind::flip && fault.at >= 0 && progress.number() >= fault.at &&
          !progress.checking() && flip(in))
        fault.at = -1;
  }

 private:
  static void act(const Fault& fault, const Progress& progress) {
    switch (fault.kind) {
      case Fault::Kind::delay:
        std::this_thread::sleep_for(std::chrono::duration<double>(fault.seconds));
        break;
      case Fault::Kind::hang:
        // Ends only where a test keeps the process alive; otherwise the watchdog takes it with it.
        while (!progress.ending()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
        throw TransportFailure("a fault let this rank hang");
      case Fault::Kind::exit:
        ::_exit(3);
      case Fault::Kind::kill:
        ::raise(SIGKILL);
        break;
      case Fault::Kind::flip:
        break;
    }
  }

  bool flip(ReceiveParts in) const {
    for (size_t p = 0; p < in.size(); ++p) {
      if (p == static_cast<size_t>(rank()) || in[p].empty()) continue;
      in[p][in[p].size() / 2] ^= std::byte{1};
      return true;
    }
    return false;
  }

  std::unique_ptr<Transport> inner_;
  std::vector<Fault> faults_;
};

}  // namespace

std::vector<Fault> parse_faults(const std::string& text) {
  std::vector<Fault> faults;
  for (const std::string& part : split(text, ';')) faults.push_back(parse_fault(part));
  return faults;
}

std::unique_ptr<Transport> with_faults(std::unique_ptr<Transport> inner, const std::string& text) {
  std::vector<Fault> mine;
  for (const Fault& fault : parse_faults(text)) {
    if (fault.rank >= inner->size())
      fail_usage("fault: rank " + std::to_string(fault.rank) + " of " + std::to_string(inner->size()) +
                 " ranks");
    if (fault.rank == inner->rank()) mine.push_back(fault);
  }
  if (mine.empty()) return inner;
  return std::make_unique<FaultyTransport>(std::move(inner), std::move(mine));
}

}  // namespace octavo
