// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/dataset_output.h"

#include <fmt/format.h>

#include <filesystem>

#include "octavo/base/error.h"
#include "octavo/base/file.h"

namespace octavo {
namespace fs = std::filesystem;

ShardWriter::ShardWriter(const std::string& directory, const ShardHeader& header, const std::string& stem,
                         int64_t shard_tokens, DatasetSplit& split)
    : directory_(directory),
      header_(header),
      stem_(stem),
      limit_(static_cast<size_t>(shard_tokens)),
      split_(split) {}

void ShardWriter::document_done(int64_t bytes) {
  ++split_.documents;
  split_.text_bytes += bytes;
  header_.text_bytes += bytes;
  size_t written = 0;
  for (; pending_.size() - written >= limit_; written += limit_) write(written, limit_);
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<int64_t>(written));
  if (header_.marked) marks_.erase(marks_.begin(), marks_.begin() + static_cast<int64_t>(written));
}

void ShardWriter::finish() {
  if (!pending_.empty()) write(0, pending_.size());
}

void ShardWriter::write(size_t begin, size_t count) {
  const std::string name =
      fmt::format("{}_{:06}{}", stem_, split_.shards.size(), shard_extension(header_.format));
  std::span<const uint8_t> marks;
  if (header_.marked) marks = {marks_.data() + begin, count};
  write_shard((fs::path(directory_) / name).string(), header_, {pending_.data() + begin, count}, marks);
  split_.shards.push_back(name);
  split_.tokens += static_cast<int64_t>(count);
  header_.text_bytes = 0;
}

DatasetOutput::DatasetOutput(const std::string& directory) : directory_(directory) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) fail_data(fmt::format("cannot create directory '{}': {}", directory, error.message()));
  rewriting_ = fs::exists(fs::path(directory) / "dataset.json");
}

void DatasetOutput::clear_tokenizer(const std::vector<std::string>& keep) const {
  for (const char* name : {"tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "tokenizer.bin",
                           "tokenizer_config.json", "special_tokens_map.json"}) {
    const fs::path file = fs::path(directory_) / name;
    std::error_code ignored;
    bool wanted = !fs::exists(file, ignored);
    for (const std::string& source : keep) wanted |= fs::equivalent(source, file, ignored);
    if (wanted) continue;
    if (!rewriting_)
      fail_usage(fmt::format("output directory '{}' holds a tokenizer of its own ({}); choose another",
                             directory_, name));
    fs::remove(file, ignored);
  }
}

void DatasetOutput::copy_tokenizer(const std::string& tokenizer) const {
  const auto sources = tokenizer_files(tokenizer);
  clear_tokenizer(sources);
  for (const std::string& source : sources) {
    const fs::path from(source);
    // Under the name a directory is searched for, whatever the file was called.
    const bool main_file = sources.front() == source && from.filename() != "vocab.json";
    const std::string name = main_file ? "tokenizer" + from.extension().string() : from.filename().string();
    const fs::path to = fs::path(directory_) / name;
    std::error_code ignored;
    if (!fs::equivalent(from, to, ignored)) write_file_atomic(to.string(), read_file(source));
  }
}

void DatasetOutput::remove_manifest() const {
  std::error_code ignored;
  fs::remove(fs::path(directory_) / "dataset.json", ignored);
}

}  // namespace octavo
