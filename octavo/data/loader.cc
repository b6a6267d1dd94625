// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "octavo/base/error.h"
#include "octavo/base/rng.h"

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

SampleLoader::SampleLoader(const TokenSource& source, int64_t seq_len, uint64_t seed, bool shuffle)
    : source_(source), seq_len_(seq_len), seed_(seed), shuffle_(shuffle) {
  if (seq_len < 1) fail_usage(fmt::format("sequence length must be at least 1, found {}", seq_len));
  if ((source.size() - 1) / seq_len < 1)
    fail_data(fmt::format("corpus '{}' has {} tokens, needs at least {} (sequence length + 1)",
                          source.path(0), source.size(), seq_len + 1));
  per_epoch_ = static_cast<uint64_t>((source.size() - 1) / seq_len);
}

int64_t SampleLoader::window(uint64_t index) const {
  const uint64_t epoch = index / per_epoch_, within = index % per_epoch_;
  if (!shuffle_) return static_cast<int64_t>(within) * seq_len_;
  const auto phase =
      static_cast<int64_t>(Rng(seed_, kPhaseStream).integer(epoch) % static_cast<uint64_t>(seq_len_));
  const uint64_t place = IndexPermutation(per_epoch_, seed_, kOrderStream + epoch)(within);
  return std::min(phase + static_cast<int64_t>(place) * seq_len_, source_.size() - seq_len_ - 1);
}

void SampleLoader::sample(uint64_t index, int32_t* inputs, int32_t* targets) const {
  const int64_t begin = window(index);
  source_.tokens(begin, seq_len_, inputs);
  std::copy(inputs + 1, inputs + seq_len_, targets);
  source_.tokens(begin + seq_len_, 1, targets + seq_len_ - 1);
}

void SampleLoader::batch(uint64_t first, int64_t count, int32_t* inputs, int32_t* targets) const {
  for (int64_t i = 0; i < count; ++i)
    sample(first + static_cast<uint64_t>(i), inputs + i * seq_len_, targets + i * seq_len_);
}

}  // namespace octavo
