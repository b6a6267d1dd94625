// SPDX-License-Identifier: Apache-2.0
// Every FP32 number through encode, for every format, rounding and overflow rule, against the model of
// tests/numerics/integer_model.h. Runs of inputs with the same neighbours come from the model; the production
// encode is still called on each of the 2^32 inputs. Results on stdout, progress on stderr; exit code 1 after
// any mismatch.
#include <CLI/CLI.hpp>
#include <array>
#include <atomic>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "dump.h"
#include "octavo/base/error.h"
#include "octavo/base/stopwatch.h"
#include "octavo/base/thread_pool.h"
#include "octavo/numerics/encode.h"
#include "tests/numerics/integer_model.h"

namespace octavo {
namespace {

constexpr uint64_t kInputs = uint64_t{1} << 32;
constexpr uint64_t kChunk = uint64_t{1} << 22;
constexpr Format kSwept[] = {Format::e4m3, Format::e5m2, Format::e4m3fnuz, Format::e5m2fnuz,
                             Format::e8m0, Format::bf16, Format::fp16};

const char* long_name(Rounding rounding) {
  return rounding == Rounding::nearest_even ? "nearest_even"
         : rounding == Rounding::stochastic ? "stochastic"
                                            : "truncate";
}

/// A random word for each input, the same in every run.
uint32_t word_for(uint32_t bits) {
  const uint32_t x = (bits ^ bits >> 15) * 0x9e3779b1;
  return (x ^ x >> 13) * 0x85ebca77;
}

/// Mismatches of one segment.
template <Format F, Rounding R, Overflow O>
uint64_t check_segment(const IntegerModel::Segment& s) {
  uint64_t mismatches = 0;
  for (uint64_t at = s.first; at < s.end; ++at) {
    const uint32_t bits = static_cast<uint32_t>(at);
    if constexpr (R == Rounding::stochastic) {
      const uint32_t random = word_for(bits);
      mismatches += encode<F>(float_from_bits(bits), R, O, random) != s.expected(bits, random);
    } else {
      mismatches += encode<F>(float_from_bits(bits), R, O) != s.low;
    }
  }
  return mismatches;
}

class Sweep {
 public:
  explicit Sweep(int threads, size_t formats) : pool_(threads), total_(formats * 9 * (kInputs / kChunk)) {}

  /// All roundings and overflow rules of F; returns the mismatches.
  template <Format F>
  uint64_t format() {
    const IntegerModel model(F);
    return rule<F, Rounding::nearest_even>(model) + rule<F, Rounding::truncate>(model) +
           rule<F, Rounding::stochastic>(model);
  }

 private:
  template <Format F, Rounding R>
  uint64_t rule(const IntegerModel& model) {
    return run<F, R, Overflow::saturate>(model) + run<F, R, Overflow::nan>(model) +
           run<F, R, Overflow::inf>(model);
  }

  template <Format F, Rounding R, Overflow O>
  uint64_t run(const IntegerModel& model) {
    std::atomic<uint64_t> next{0}, inputs{0}, mismatches{0};
    pool_.run([&](int) {
      for (uint64_t chunk; (chunk = next++) < kInputs / kChunk;) {
        uint64_t seen = 0;
        model.for_segments(chunk * kChunk, (chunk + 1) * kChunk, R, O, [&](const IntegerModel::Segment& s) {
          const uint64_t wrong = check_segment<F, R, O>(s);
          if (wrong && mismatches.fetch_add(wrong) < 5)
            std::fprintf(stderr, "\nwrong: %s between inputs 0x%08" PRIx64 " and 0x%08" PRIx64 "\n",
                         std::string(to_string(F)).c_str(), s.first, s.end - 1);
          seen += s.end - s.first;
        });
        inputs += seen;
        progress();
      }
    });
    std::printf("%s %s %s: %" PRIu64 " inputs, %" PRIu64 " mismatches\n", std::string(to_string(F)).c_str(),
                long_name(R), std::string(to_string(O)).c_str(), inputs.load(), mismatches.load());
    std::fflush(stdout);
    return mismatches + (inputs != kInputs);
  }

  void progress() {
    const uint64_t done = ++done_;
    if (done % 256 && done != total_) return;
    const std::lock_guard lock(printing_);
    const double spent = clock_.seconds(),
                 left = spent / static_cast<double>(done) * static_cast<double>(total_ - done);
    std::fprintf(stderr, "\r%5.1f %%, %.0f s left ",
                 100.0 * static_cast<double>(done) / static_cast<double>(total_), left);
    if (done == total_) std::fprintf(stderr, "\n");
  }

  ThreadPool pool_;
  Stopwatch clock_;
  std::mutex printing_;
  std::atomic<uint64_t> done_{0};
  uint64_t total_;
};

uint64_t sweep_format(Sweep& sweep, Format format) {
  switch (format) {
    case Format::e4m3:
      return sweep.format<Format::e4m3>();
    case Format::e5m2:
      return sweep.format<Format::e5m2>();
    case Format::e4m3fnuz:
      return sweep.format<Format::e4m3fnuz>();
    case Format::e5m2fnuz:
      return sweep.format<Format::e5m2fnuz>();
    case Format::e8m0:
      return sweep.format<Format::e8m0>();
    case Format::bf16:
      return sweep.format<Format::bf16>();
    case Format::fp16:
      return sweep.format<Format::fp16>();
    case Format::fp32:
      break;
  }
  fail_usage("fp32 is not swept, encoding it is the identity");
}

Format format_named(const std::string& name) {
  if (const auto format = format_from_string(name)) return *format;
  fail_usage("unknown format '" + name + "'");
}

void dump(const std::vector<std::string>& words) {
  const auto rounding = words[1] == "nearest_even" ? Rounding::nearest_even : rounding_from_string(words[1]);
  const auto overflow = overflow_from_string(words[2]);
  if (!rounding) fail_usage("unknown rounding '" + words[1] + "'; use nearest_even, stochastic or truncate");
  if (!overflow) fail_usage("unknown overflow rule '" + words[2] + "'; use saturate, nan or inf");
  dump_codes(format_named(words[0]), *rounding, *overflow, words[3]);
}

}  // namespace
}  // namespace octavo

int main(int argc, char** argv) {
  using namespace octavo;
  CLI::App app("All 2^32 FP32 inputs through the encoders, against an independent model");
  std::vector<std::string> names, dump_words;
  int threads = 0;
  app.add_option("--formats", names, "only these, separated by commas")->delimiter(',');
  app.add_option("--threads", threads, "0: all CPUs")->check(CLI::NonNegativeNumber);
  app.add_option("--dump", dump_words, "FORMAT ROUNDING OVERFLOW FILE: write inputs and codes instead")
      ->expected(4);
  CLI11_PARSE(app, argc, argv);
  try {
    if (!dump_words.empty()) {
      dump(dump_words);
      return 0;
    }
    std::vector<Format> formats;
    for (const std::string& name : names) formats.push_back(format_named(name));
    if (formats.empty()) formats.assign(std::begin(kSwept), std::end(kSwept));
    Sweep sweep(threads, formats.size());
    uint64_t mismatches = 0;
    for (Format format : formats) mismatches += sweep_format(sweep, format);
    return mismatches ? static_cast<int>(ExitCode::check_failed) : 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  }
}
