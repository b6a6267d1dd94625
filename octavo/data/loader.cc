// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "octavo/base/error.h"
#include "octavo/base/rng.h"
#include "octavo/base/suggest.h"

namespace octavo {
namespace {

constexpr int kRounds = 6;
// Streams of the seed's random numbers; the epoch is the counter or part of the stream.
constexpr uint64_t kPhaseStream = 0x6461746170686173;
constexpr uint64_t kOrderStream = 0x646174616f726465;

}  // namespace

IndexPermutation::IndexPermutation(uint64_t size, uint64_t key, uint64_t stream)
    : size_(size),
      key_(key),
      stream_(stream),
      half_bits_((std::bit_width(size > 1 ? size - 1 : 1) + 1) / 2) {}

uint64_t IndexPermutation::operator()(uint64_t index) const {
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  const Rng rng(key_, stream_);
  do {
    uint64_t left = index >> half_bits_, right = index & mask;
    for (uint64_t round = 0; round < kRounds; ++round) {
      const uint64_t mixed = left ^ (rng.integer(round << 32 | right) & mask);
      left = right;
      right = mixed;
    }
    index = left << half_bits_ | right;
  } while (index >= size_);
  return index;
}

Packing packing(const std::string& name) {
  if (name == "whole") return Packing::whole;
  if (name == "single") return Packing::single;
  fail_usage(fmt::format("unknown packing '{}'{}", name, did_you_mean(name, {"whole", "single"})));
}

SampleLoader::SampleLoader(const TokenSource& source, int64_t seq_len, uint64_t seed, bool shuffle,
                           Packing packing)
    : source_(source), seq_len_(seq_len), seed_(seed), shuffle_(shuffle) {
  if (seq_len < 1) fail_usage(fmt::format("sequence length must be at least 1, found {}", seq_len));
  if (source.marked()) {
    pack(packing);
    per_epoch_ = windows_.size();
    return;
  }
  if ((source.size() - 1) / seq_len < 1)
    fail_data(fmt::format("corpus '{}' has {} tokens, needs at least {} (sequence length + 1)",
                          source.path(0), source.size(), seq_len + 1));
  per_epoch_ = static_cast<uint64_t>((source.size() - 1) / seq_len);
}

void SampleLoader::pack(Packing packing) {
  const int64_t room = seq_len_ + 1;
  Window open{0, 0, 0};
  const auto close = [&] {
    if (open.counted > 0) windows_.push_back(open);
  };
  // An example of `length` tokens, of which `counted` of the first `room` count.
  const auto add = [&](int64_t begin, int64_t length, int32_t counted) {
    ++fit_.examples;
    fit_.cut += length > room;
    fit_.lost += counted == 0;
    if (packing == Packing::single || length > room - open.length) {
      close();
      open = {begin, 0, 0};
    }
    open.length += static_cast<int32_t>(std::min(length, room));
    open.counted += counted;
  };
  int64_t begin = 0;
  int32_t counted = 0;
  std::vector<uint8_t> marks(static_cast<size_t>(std::min<int64_t>(source_.size(), 1 << 16)));
  for (int64_t block = 0; block < source_.size(); block += static_cast<int64_t>(marks.size())) {
    const int64_t count = std::min(static_cast<int64_t>(marks.size()), source_.size() - block);
    source_.marks(block, count, marks.data());
    for (int64_t at = block; at < block + count; ++at) {
      const uint8_t mark = marks[static_cast<size_t>(at - block)];
      if (mark & kBegins && at > begin) {
        add(begin, at - begin, counted);
        begin = at;
        counted = 0;
      }
      // The first token of an example has nothing before it, whatever its mark says.
      counted += mark & kCounts && at > begin && at - begin < room;
    }
  }
  add(begin, source_.size() - begin, counted);
  close();
  if (windows_.empty())
    fail_data(
        fmt::format("'{}' has no answer within its first {} tokens of an example; the sequence length "
                    "of {} is too short for it",
                    source_.path(0), room, seq_len_));
}

uint64_t SampleLoader::place(uint64_t index) const {
  const uint64_t epoch = index / per_epoch_, within = index % per_epoch_;
  return shuffle_ ? IndexPermutation(per_epoch_, seed_, kOrderStream + epoch)(within) : within;
}

int64_t SampleLoader::window(uint64_t index) const {
  if (source_.marked()) return windows_[place(index)].begin;
  const auto begin = static_cast<int64_t>(place(index)) * seq_len_;
  if (!shuffle_) return begin;
  const auto phase = static_cast<int64_t>(Rng(seed_, kPhaseStream).integer(index / per_epoch_) %
                                          static_cast<uint64_t>(seq_len_));
  return std::min(phase + begin, source_.size() - seq_len_ - 1);
}

int64_t SampleLoader::counted(uint64_t index) const {
  return source_.marked() ? windows_[place(index)].counted : seq_len_;
}

void SampleLoader::sample(uint64_t index, int32_t* inputs, int32_t* targets) const {
  if (source_.marked()) {
    marked_sample(windows_[place(index)], inputs, targets);
    return;
  }
  const int64_t begin = window(index);
  source_.tokens(begin, seq_len_, inputs);
  std::copy(inputs + 1, inputs + seq_len_, targets);
  source_.tokens(begin + seq_len_, 1, targets + seq_len_ - 1);
}

void SampleLoader::marked_sample(const Window& window, int32_t* inputs, int32_t* targets) const {
  std::vector<uint8_t> marks(static_cast<size_t>(window.length));
  source_.marks(window.begin, window.length, marks.data());
  int64_t begin = window.begin;
  for (int64_t done = 0; done < seq_len_;) {
    const int64_t take = std::min(seq_len_ - done, source_.size() - begin);
    source_.tokens(begin, take, inputs + done);
    done += take;
    begin = 0;  // behind the end, the beginning
  }
  std::copy(inputs + 1, inputs + seq_len_, targets);
  if (window.length == seq_len_ + 1) source_.tokens(window.begin + seq_len_, 1, targets + seq_len_ - 1);
  for (int64_t i = 0; i < seq_len_; ++i) {
    const bool own = i + 1 < window.length;
    const uint8_t mark = own ? marks[static_cast<size_t>(i + 1)] : uint8_t{0};
    if (!(mark & kCounts) || mark & kBegins) targets[i] = kNotCounted;
  }
}

void SampleLoader::batch(uint64_t first, int64_t count, int32_t* inputs, int32_t* targets) const {
  for (int64_t i = 0; i < count; ++i)
    sample(first + static_cast<uint64_t>(i), inputs + i * seq_len_, targets + i * seq_len_);
}

}  // namespace octavo
