// SPDX-License-Identifier: Apache-2.0
#include "terminal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace octavo {
namespace {
bool& line_open() {
  static bool open = false;
  return open;
}
}  // namespace

bool interactive() {
  static const bool yes = [] {
    const char* term = std::getenv("TERM");
    return isatty(STDERR_FILENO) && !(term && std::string_view(term) == "dumb");
  }();
  return yes;
}

bool& quiet() {
  static bool on = false;
  return on;
}

void status(const std::string& text) {
  if (quiet() || !interactive()) return;
  fmt::print(stderr, "\r\033[2K{}", text);
  std::fflush(stderr);
  line_open() = true;
}

void message(const std::string& text) {
  if (quiet()) return;
  if (line_open()) fmt::print(stderr, "\r\033[2K");
  line_open() = false;
  fmt::print(stderr, "{}\n", text);
  std::fflush(stderr);
}

std::string short_number(double value) {
  if (value >= 1e9) return fmt::format("{:.2f}G", value / 1e9);
  if (value >= 1e6) return fmt::format("{:.2f}M", value / 1e6);
  if (value >= 1e4) return fmt::format("{:.1f}k", value / 1e3);
  return fmt::format("{:.0f}", value);
}

std::string bytes_text(double bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  while (bytes >= 1024 && unit < 4) {
    bytes /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.1f} {}", bytes, units[unit]);
}

std::string duration(double seconds) {
  const int64_t s = static_cast<int64_t>(seconds + 0.5);
  if (s < 60) return fmt::format("{}s", s);
  if (s < 3600) return fmt::format("{}m {:02}s", s / 60, s % 60);
  return fmt::format("{}h {:02}m", s / 3600, s / 60 % 60);
}

void ProgressLine::update(int64_t done, int64_t total) {
  done_ = done;
  const double wait = interactive() ? 0.1 : 10.0;
  if (printed_ && since_print_.seconds() < wait) return;
  if (!interactive() && !printed_ && watch_.seconds() < wait) return;
  printed_ = true;
  since_print_.restart();
  const double seconds = watch_.seconds(), rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
  const double left = rate > 0 ? static_cast<double>(total - done) / rate : 0;
  const std::string text =
      fmt::format("{}  {:.0f} %  {} of {} {}  {}/s  {} left", title_,
                  total > 0 ? 100.0 * static_cast<double>(done) / static_cast<double>(total) : 100.0,
                  short_number(static_cast<double>(done)), short_number(static_cast<double>(total)), unit_,
                  short_number(rate), duration(left));
  if (interactive())
    status(text);
  else
    message(text);
}

void ProgressLine::finish(const std::string& summary) {
  message(fmt::format(
      "{}  {}{}in {}", title_,
      summary.empty() ? fmt::format("{} {}", short_number(static_cast<double>(done_)), unit_) : summary, " ",
      duration(watch_.seconds())));
}

}  // namespace octavo
