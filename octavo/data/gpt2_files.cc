// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <filesystem>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/data/bpe_tokenizer.h"
#include "octavo/data/json_reading.h"
#include "octavo/data/tokenizer_json.h"
#include "octavo/data/tokenizer_readers.h"
#include "octavo/data/utf8.h"

namespace octavo {
namespace {

void read_vocabulary(const std::string& path, BpeParts& parts) {
  const Json vocab = read_json(path);
  if (!vocab.is_object() || vocab.empty())
    fail_data(fmt::format("'{}' must be a JSON object of token: id", path));
  Vocabulary& v = parts.vocabulary;
  const auto count = static_cast<int64_t>(vocab.size());
  v.text.resize(vocab.size());
  v.special.resize(vocab.size());
  std::vector<bool> used(vocab.size());
  for (const auto& [token, id] : vocab.items()) {
    const int64_t value = id.is_number_integer() ? id.get<int64_t>() : -1;
    if (value < 0 || value >= count || used[value])
      fail_data(fmt::format("'{}': token '{}' has the id {}, expected every id of 0..{} once", path, token,
                            id.dump(), count - 1));
    used[value] = true;
    v.text[value] = token;
    v.ids.emplace(token, static_cast<int32_t>(value));
  }
  v.bytes.reserve(v.text.size());
  for (const std::string& token : v.text) v.bytes.push_back(printable_to_bytes(token).value_or(token));
  parts.in_model.assign(v.text.size(), true);
}

void read_merges(const std::string& path, BpeParts& parts) {
  const std::string content = read_file(path);
  const TokenMap& ids = parts.vocabulary.ids;
  int32_t rank = 0;
  size_t line_number = 0;
  for (size_t at = 0; at < content.size();) {
    const size_t end = std::min(content.find('\n', at), content.size());
    std::string_view line = std::string_view(content).substr(at, end - at);
    at = end + 1;
    ++line_number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || (line_number == 1 && line.starts_with("#version"))) continue;
    const size_t space = line.find(' ');
    if (space == 0 || space == std::string_view::npos || space + 1 == line.size())
      fail_data(fmt::format("'{}' line {}: expected two tokens with a space between", path, line_number));
    const std::string left(line.substr(0, space)), right(line.substr(space + 1));
    for (const std::string& token : {left, right, left + right})
      if (!ids.contains(token))
        fail_data(fmt::format("'{}' line {}: token '{}' is not in vocab.json", path, line_number, token));
    parts.merges.add(ids.at(left), ids.at(right), rank++, ids.at(left + right));
  }
}

}  // namespace

std::unique_ptr<Tokenizer> read_gpt2_files(const std::string& directory) {
  const std::filesystem::path folder(directory);
  BpeParts parts;
  parts.name = directory;
  parts.byte_level = true;
  read_vocabulary((folder / "vocab.json").string(), parts);
  read_merges((folder / "merges.txt").string(), parts);
  parts.pretokenizer.add_split(Regex(kGpt2Pattern, false, directory), PreTokenizer::Behavior::isolated,
                               false);
  Vocabulary& v = parts.vocabulary;
  if (const auto end = v.ids.find("<|endoftext|>"); end != v.ids.end()) {
    v.special[end->second] = true;
    v.bos = v.eos = end->second;
    parts.raw_tokens.add({"<|endoftext|>", end->second, true});
  }
  find_text_ends(v, directory);
  return std::make_unique<BpeTokenizer>(std::move(parts));
}

}  // namespace octavo
