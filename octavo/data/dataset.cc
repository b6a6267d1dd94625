// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/dataset.h"

#include <fmt/format.h>

#include <filesystem>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/data/json_reading.h"

namespace octavo {
namespace {

constexpr const char* kName = "dataset.json";

std::string inside(const std::string& directory, const std::string& name) {
  return (std::filesystem::path(directory) / name).string();
}

nlohmann::ordered_json to_json(const DatasetSplit& split) {
  nlohmann::ordered_json json = {
      {"tokens", split.tokens}, {"text_bytes", split.text_bytes}, {"documents", split.documents}};
  if (split.counted >= 0) json["counted"] = split.counted;
  json["shards"] = split.shards;
  return json;
}

DatasetSplit split_from(const Json& file, const char* key, const std::string& where) {
  const Json& json = need(file, key, "object", where);
  const std::string part = where + " " + key;
  DatasetSplit split;
  split.tokens = need_integer(json, "tokens", 0, INT64_MAX, part);
  split.text_bytes = need_integer(json, "text_bytes", 0, INT64_MAX, part);
  split.documents = need_integer(json, "documents", 0, INT64_MAX, part);
  if (maybe(json, "counted", "integer", part))
    split.counted = need_integer(json, "counted", 0, split.tokens, part);
  for (const Json& name : need(json, "shards", "array", part)) {
    // Only files of the directory itself: the list must not lead anywhere else.
    if (!name.is_string() || name.get<std::string>().find('/') != std::string::npos)
      fail_data(fmt::format("{}: shards must be plain file names, found {}", part, name.dump()));
    split.shards.push_back(name.get<std::string>());
  }
  return split;
}

}  // namespace

Dataset read_dataset(const std::string& directory) {
  const std::string path = inside(directory, kName);
  if (!std::filesystem::exists(path))
    fail_data(fmt::format("'{}' is no prepared data set: it has no {}", directory, kName));
  const Json file = read_json(path);
  const std::string where = "'" + path + "'";
  need_integer(file, "version", 1, 1, where);
  Dataset dataset;
  dataset.directory = directory;
  dataset.format = shard_format(need_string(file, "format", where));
  dataset.vocab_size = need_integer(file, "vocab_size", 1, INT32_MAX, where);
  const std::string fingerprint = need_string(file, "tokenizer_fingerprint", where);
  if (fingerprint.size() != 16 || fingerprint.find_first_not_of("0123456789abcdef") != std::string::npos)
    fail_data(fmt::format("{}: key 'tokenizer_fingerprint' must be 16 hexadecimal digits", where));
  dataset.tokenizer_fingerprint = std::stoull(fingerprint, nullptr, 16);
  dataset.has_tokenizer = maybe(file, "tokenizer", "string", where) != nullptr;
  dataset.train = split_from(file, "train", where);
  dataset.val = split_from(file, "val", where);
  for (const Json& source : need(file, "sources", "array", where))
    dataset.sources.push_back(
        {need_string(source, "path", where), need_integer(source, "bytes", 0, INT64_MAX, where)});
  return dataset;
}

void write_dataset(const Dataset& dataset) {
  nlohmann::ordered_json sources = nlohmann::ordered_json::array();
  for (const auto& source : dataset.sources)
    sources.push_back({{"path", source.path}, {"bytes", source.bytes}});
  nlohmann::ordered_json file = {
      {"version", 1},
      {"format", to_string(dataset.format)},
      {"vocab_size", dataset.vocab_size},
      {"bytes_per_token", shard_token_bytes(dataset.format, dataset.vocab_size)},
      {"tokenizer", nullptr},
      {"tokenizer_fingerprint", fmt::format("{:016x}", dataset.tokenizer_fingerprint)},
      {"train", to_json(dataset.train)},
      {"val", to_json(dataset.val)},
      {"sources", sources}};
  if (dataset.has_tokenizer) file["tokenizer"] = ".";
  using Handler = nlohmann::ordered_json::error_handler_t;
  write_file_atomic(inside(dataset.directory, kName), file.dump(2, ' ', false, Handler::replace) + "\n");
  sync_directory(dataset.directory);
}

TokenSource open_split(const Dataset& dataset, const DatasetSplit& split) {
  const char* name = &split == &dataset.val ? "validation" : "training";
  if (split.shards.empty()) fail_data(fmt::format("data set '{}' has no {} tokens", dataset.directory, name));
  std::vector<std::string> paths;
  for (const std::string& shard : split.shards) paths.push_back(inside(dataset.directory, shard));
  TokenSource source(paths);
  if (source.size() != split.tokens)
    fail_data(fmt::format("data set '{}': expected {} {} tokens, its shards hold {}", dataset.directory,
                          split.tokens, name, source.size()));
  if (source.tokenizer() != 0 && source.tokenizer() != dataset.tokenizer_fingerprint)
    fail_data(
        fmt::format("data set '{}': its {} shards were made with another tokenizer than dataset.json says",
                    dataset.directory, name));
  return source;
}

}  // namespace octavo
