// SPDX-License-Identifier: Apache-2.0
#include "octavo/lab/balance.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "octavo/base/error.h"
#include "octavo/nn/transformer.h"
#include "octavo/report/tensor_name.h"
#include "octavo/train/shards.h"

namespace octavo {
namespace {

/// The whole of `text` as a number, or -1.
int64_t number(std::string_view text) {
  int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? value : -1;
}

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

ModelWord parse_model_word(const std::string& word) {
  const auto refuse = [&](std::string_view part) {
    fail_usage(fmt::format(
        "'{}' of model '{}' is not understood; NAME, NAME/tp8, NAME/pp4, NAME/tp8/pp4.2 are", part, word));
  };
  ModelWord out;
  size_t at = word.find('/');
  out.name = word.substr(0, at);
  if (out.name.empty()) refuse("");
  while (at != std::string::npos) {
    const size_t next = word.find('/', at + 1);
    const std::string part = word.substr(at + 1, next == std::string::npos ? next : next - at - 1);
    const size_t dot = part.find('.');
    const int64_t value = number(std::string_view(part).substr(std::min<size_t>(2, part.size()), dot - 2));
    if (value < 1) refuse(part);
    if (part.starts_with("tp") && dot == std::string::npos) {
      out.split.tensor = value;
    } else if (part.starts_with("pp")) {
      out.split.pipeline = value;
      if (dot != std::string::npos) out.split.stage = number(std::string_view(part).substr(dot + 1));
      if (out.split.stage < 0 || out.split.stage >= value) refuse(part);
    } else {
      refuse(part);
    }
    at = next;
  }
  return out;
}

std::vector<StateSize> state_sizes(const ModelConfig& config, const Recipe& recipe, const ModelSplit& split) {
  if (config.layers % split.pipeline != 0)
    fail_usage(fmt::format("{} has {} blocks, which cannot be divided evenly among {} stages", config.name,
                           config.layers, split.pipeline));
  const int64_t per_stage = config.layers / split.pipeline, last = split.pipeline - 1;
  ThreadPool alone(1);
  const Transformer model(config, recipe, Purpose::training, alone);  // never allocated
  std::vector<StateSize> out;
  for (const Parameter& p : model.parameters().all()) {
    const int block = layer_index(p.name);
    bool here = block >= 0 && block / per_stage == split.stage;
    if (block < 0) {
      const bool input = p.layer == Layer::input;
      here = (input && split.stage == 0) || (!input && split.stage == last) ||
             (input && config.tied_head && p.rows == config.vocab_size && split.stage == last);
    }
    if (!here) continue;
    StateSize s{p.name, p.size(), 0, false};
    if (p.layer == Layer::input && p.rows != config.vocab_size) {
      // Positions are on all ranks of a group, like vectors.
    } else if (p.layer == Layer::input || p.layer == Layer::output) {
      s.elements = divide_up(p.rows, split.tensor) * p.cols;
    } else if (p.layer != Layer::vector) {
      s.elements = divide_up(p.size(), split.tensor);
    }
    for (const StateTensor* t : {&p.master, &p.weight_grad, &p.moment1, &p.moment2}) {
      s.bytes += s.elements * bytes(t->spec.format);
      s.scaled |= carries_scale(t->spec.format);
    }
    out.push_back(std::move(s));
  }
  return out;
}

LoadSpread spread(std::span<const int64_t> sizes, int ranks, int64_t even) {
  std::vector<int64_t> load(static_cast<size_t>(ranks));
  const std::vector<int> owners = assign_tensors(sizes, ranks);
  int64_t total = even, largest = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    load[static_cast<size_t>(owners[i])] += sizes[i];
    total += sizes[i];
    largest = std::max(largest, sizes[i]);
  }
  const double slice = static_cast<double>(even) / ranks;
  const auto [least, most] = std::minmax_element(load.begin(), load.end());
  LoadSpread s;
  s.least = static_cast<double>(*least) + slice;
  s.most = static_cast<double>(*most) + slice;
  s.mean = static_cast<double>(total) / ranks;
  s.lower_bound = std::max(s.mean, static_cast<double>(largest) + slice);
  return s;
}

BalancedModel balance_model(const std::string& label, const ModelConfig& config, const Recipe& recipe,
                            const ModelSplit& split, std::span<const int> ranks) {
  BalancedModel m;
  m.label = label;
  m.vocab_size = config.vocab_size;
  const std::vector<StateSize> sizes = state_sizes(config, recipe, split);
  m.tensors = sizes.size();
  std::vector<int64_t> all_bytes, elements, scaled;
  int64_t rest = 0;
  for (const StateSize& s : sizes) {
    m.elements += s.elements;
    m.bytes += s.bytes;
    if (s.bytes > m.largest.bytes) m.largest = s;
    all_bytes.push_back(s.bytes);
    elements.push_back(s.elements);
    if (s.scaled)
      scaled.push_back(s.bytes);
    else
      rest += s.bytes;
  }
  for (const int n : ranks)
    m.rows.push_back({n, spread(all_bytes, n), spread(elements, n), spread(scaled, n, rest)});
  return m;
}

}  // namespace octavo
