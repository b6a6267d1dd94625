// SPDX-License-Identifier: Apache-2.0
#include "octavo/train/fingerprint.h"

#include <fmt/format.h>

#include <sstream>

#include "octavo/base/error.h"
#include "octavo/base/version.h"
#include "octavo/comm/collectives.h"
#include "octavo/io/hf_model.h"
#include "octavo/recipe/recipe_file.h"

namespace octavo {
namespace {

std::string packed(const std::vector<FingerprintItem>& items) {
  std::string text;
  for (const FingerprintItem& item : items)
    for (const std::string* part : {&item.name, &item.text})
      text += fmt::format("{}:{}", part->size(), *part);
  return text;
}

std::vector<FingerprintItem> unpacked(const std::string& text) {
  std::vector<FingerprintItem> items;
  size_t at = 0;
  const auto next = [&] {
    const size_t colon = text.find(':', at);
    const size_t size = std::stoul(text.substr(at, colon - at));
    at = colon + 1 + size;
    return text.substr(colon + 1, size);
  };
  while (at < text.size()) {
    items.emplace_back();
    items.back().name = next();
    items.back().text = next();
  }
  return items;
}

/// The first line in which two texts differ.
std::pair<std::string, std::string> difference(const std::string& a, const std::string& b) {
  std::istringstream x(a), y(b);
  for (std::string p, q;;) {
    const bool more = static_cast<bool>(std::getline(x, p)), other = static_cast<bool>(std::getline(y, q));
    if (!more) p.clear();
    if (!other) q.clear();
    if (p != q || (!more && !other)) return {p, q};
  }
}

}  // namespace

std::vector<FingerprintItem> fingerprint(const RunConfig& config, const Recipe& recipe,
                                         const ModelConfig& model, const TrainingData& data) {
  // Where files lie and how many threads compute may differ.
  RunConfig same = config;
  same.out = same.init = "";
  same.data.train = same.data.val = {};
  same.threads = 0;
  return {{"the program", fmt::format("octavo {} ({})", version(), commit())},
          {"the configuration", to_toml(same)},
          {"the recipe", to_toml(recipe)},
          {"the model", hf_config_json(model, FileDtype::f32)},
          {"the data", data.fingerprint()}};
}

std::string shared_text(CommThread& comm, std::string text) {
  comm.run([&](Communicator& c) {
    const Label label{Traffic::state, "sharing a text"};
    uint64_t size = text.size();
    broadcast(c, std::as_writable_bytes(std::span<uint64_t, 1>(&size, 1)), 0, label);
    text.resize(size);
    broadcast(c, std::as_writable_bytes(std::span(text)), 0, label);
  });
  return text;
}

void compare_fingerprints(CommThread& comm, const std::vector<FingerprintItem>& own) {
  if (comm.size() == 1) return;
  std::string complaint;
  comm.run([&](Communicator& c) {
    const Label label{Traffic::control, "comparing what ranks were told"};
    const std::string text = packed(own);
    const std::vector<uint64_t> sizes = all_gather_value<uint64_t>(c, text.size(), label);
    std::vector<std::string> texts(sizes.size());
    std::vector<std::span<std::byte>> parts;
    for (size_t i = 0; i < sizes.size(); ++i) {
      texts[i].resize(sizes[i]);
      parts.push_back(std::as_writable_bytes(std::span(texts[i])));
    }
    all_gather(c, std::as_bytes(std::span(text)), parts, label);
    const std::vector<FingerprintItem> first = unpacked(texts[0]);
    for (int rank = 1; rank < c.size() && complaint.empty(); ++rank) {
      const std::vector<FingerprintItem> other = unpacked(texts[static_cast<size_t>(rank)]);
      for (size_t i = 0; i < first.size() && complaint.empty(); ++i) {
        if (other[i].text == first[i].text) continue;
        const auto [here, there] = difference(first[i].text, other[i].text);
        complaint = fmt::format("{} has another {} than {}: {} instead of {}", c.describe(rank),
                                first[i].name.substr(4), c.describe(0), there.empty() ? "nothing" : there,
                                here.empty() ? "nothing" : here);
      }
    }
  });
  if (!complaint.empty()) fail_usage(comm.rank() == 0 ? complaint : "");
}

}  // namespace octavo
