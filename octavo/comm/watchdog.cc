// SPDX-License-Identifier: Apache-2.0
#include "octavo/comm/watchdog.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <string_view>

#include "octavo/base/error.h"

namespace octavo {
namespace {

// MPI_Abort normally ends this process within milliseconds; over a dead link it may hang.
constexpr auto kAbortTime = std::chrono::seconds(2);

// In one write: the lines of several ranks share a terminal.
void print_whole(const std::string& text) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t n = ::write(STDERR_FILENO, text.data() + done, text.size() - done);
    if (n <= 0) return;
    done += static_cast<size_t>(n);
  }
}

/// "all-to-all of weight gradients". Control data has operations that say what they are.
std::string what_text(const Label& label) {
  const std::string operation = label.operation ? label.operation : "exchange";
  return label.role == Traffic::control ? operation : operation + " of " + traffic_name(label.role);
}

std::string duration_text(double seconds) {
  return seconds < 10 ? fmt::format("{:.1f} s", seconds) : fmt::format("{:.0f} s", seconds);
}

std::string range_text(const char* name, int64_t first, int64_t last) {
  if (first < 0) return "";
  if (first == last) return fmt::format(", {} {}", name, first);
  return fmt::format(", {}s {}-{}", name, first, last);
}

}  // namespace

std::string host_name() {
  char name[256] = "";
  if (::gethostname(name, sizeof name - 1) != 0 || !name[0]) return "?";
  return name;
}

std::string label_text(const Label& label) {
  return fmt::format("{}{}{}", what_text(label), range_text("bucket", label.bucket, label.bucket),
                     range_text("step", label.step, label.step));
}

std::string operations_text(const std::vector<Progress::Operation>& operations) {
  const auto alike = [](const Progress::Operation& a, const Progress::Operation& b) {
    return a.label.role == b.label.role && std::string_view(a.label.operation) == b.label.operation &&
           (a.label.step < 0) == (b.label.step < 0) && (a.label.bucket < 0) == (b.label.bucket < 0);
  };
  constexpr size_t kMost = 12;  // of each rank, in one piece of a pipe
  std::vector<std::string> lines;
  for (size_t i = 0; i < operations.size();) {
    size_t next = i;
    int64_t sent = 0;
    double seconds = 0;
    int64_t buckets[2] = {operations[i].label.bucket, operations[i].label.bucket};
    for (; next < operations.size() && alike(operations[i], operations[next]); ++next) {
      sent += operations[next].sent;
      seconds += operations[next].seconds;
      buckets[0] = std::min(buckets[0], operations[next].label.bucket);
      buckets[1] = std::max(buckets[1], operations[next].label.bucket);
    }
    const Progress::Operation &first = operations[i], &last = operations[next - 1];
    lines.push_back(fmt::format("  #{} {}{}{}: sent {} bytes, {:.3f} s\n",
                                first.number == last.number ? std::to_string(first.number)
                                                            : fmt::format("{}-{}", first.number, last.number),
                                what_text(first.label), range_text("bucket", buckets[0], buckets[1]),
                                range_text("step", first.label.step, last.label.step), sent, seconds));
    i = next;
  }
  std::string text;
  for (size_t i = lines.size() - std::min(lines.size(), kMost); i < lines.size(); ++i) text += lines[i];
  return text;
}

Watchdog::Watchdog(Progress& progress, const CommOptions& options) : progress_(progress), options_(options) {
  if (options_.deadline > 0 || options_.stop) thread_ = std::thread([this] { watch(); });
}

Watchdog::~Watchdog() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Watchdog::introduce(int rank, std::vector<std::string> hosts) {
  std::lock_guard lock(mutex_);
  rank_ = rank;
  hosts_ = std::move(hosts);
}

std::string Watchdog::describe(int rank) const {
  std::lock_guard lock(mutex_);
  if (static_cast<size_t>(rank) >= hosts_.size() || hosts_[static_cast<size_t>(rank)].empty())
    return fmt::format("rank {}", rank);
  return fmt::format("rank {} (host {})", rank, hosts_[static_cast<size_t>(rank)]);
}

std::string Watchdog::self() const {
  std::lock_guard lock(mutex_);
  if (rank_ < 0) return fmt::format("a rank on host {}", host_name());
  return fmt::format("rank {} of {} (host {})", rank_, hosts_.size(), hosts_[static_cast<size_t>(rank_)]);
}

std::string Watchdog::missing(const Progress::Snapshot& s) const {
  const auto list = [&](const std::vector<int>& ranks) {
    constexpr size_t kMost = 8;  // of a thousand ranks
    std::string text;
    for (size_t i = 0; i < std::min(ranks.size(), kMost); ++i) text += (i ? ", " : "") + describe(ranks[i]);
    if (ranks.size() > kMost) text += fmt::format(" and {} more", ranks.size() - kMost);
    return text;
  };
  // A rank that does not answer does not take anything either; name it once.
  std::vector<int> only_sending;
  std::set_difference(s.sending.begin(), s.sending.end(), s.receiving.begin(), s.receiving.end(),
                      std::back_inserter(only_sending));
  if (s.receiving.empty() && only_sending.empty()) return " in a call that does not come back";
  std::string text;
  if (!s.receiving.empty()) text += " for " + list(s.receiving);
  if (!only_sending.empty())
    text += (text.empty() ? " to send to " : " and to send to ") + list(only_sending);
  return text;
}

void Watchdog::announce(int code, const std::string& why) {
  // Whoever comes second waits until the message is out: it will end the process.
  std::lock_guard one_at_a_time(announcing_);
  std::string message = why + "\n";
  const std::string operations = operations_text(progress_.snapshot().last);
  if (!operations.empty()) message += "last operations of this rank:\n" + operations;
  {
    std::lock_guard lock(mutex_);
    if (announced_) return;
    announced_ = true;
    message_ = message;
  }
  if (options_.end)
    options_.end(message);
  else
    print_whole("octavo: " + message);
  progress_.request_end(code);
}

std::string Watchdog::message() const {
  std::lock_guard lock(mutex_);
  return message_;
}

void Watchdog::end_process(int code) {
  std::this_thread::sleep_for(kAbortTime);
  ::_exit(code);
}

void Watchdog::watch() {
  using Clock = Progress::Clock;
  const auto since = [](Clock::time_point t) {
    return std::chrono::duration<double>(Clock::now() - t).count();
  };
  const double deadline = options_.deadline > 0 ? options_.deadline : 1e9;
  const auto interval = std::chrono::duration<double>(std::clamp(deadline / 10, 0.005, 0.1));
  Clock::time_point told{};
  bool stopping = false;
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, interval, [&] { return stop_; })) {
    lock.unlock();
    if (!stopping && options_.stop && options_.stop->load()) {
      stopping = true;
      told = Clock::now();
    }
    const Progress::Snapshot s = progress_.snapshot();
    const std::string what =
        s.now.number < 0 && s.now.label.operation ? s.now.label.operation : label_text(s.now.label);
    std::string why;
    if (s.active && s.now.seconds >= (s.now.limit > 0 ? s.now.limit : deadline)) {
      why = fmt::format("{}: {}, has waited {}{}", self(), what, duration_text(s.now.seconds), missing(s));
    } else if (s.active && stopping && std::min(s.now.seconds, since(told)) >= options_.stop_grace) {
      why = fmt::format("{}: told to stop while {} waits{}", self(), what, missing(s));
    }
    if (!why.empty()) announce(static_cast<int>(ExitCode::communication), why);
    // Whoever announced: a call that does not come back must not keep the process.
    if (progress_.ending() && !options_.end) end_process(progress_.ending());
    lock.lock();
  }
}

}  // namespace octavo
