// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/corpus.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/data/json_reading.h"
#include "octavo/data/utf8.h"

namespace octavo {
namespace {

namespace fs = std::filesystem;

bool is_text_name(const fs::path& path) {
  const std::string extension = path.extension().string();
  for (const char* known : {".txt", ".text", ".md", ".raw", ".jsonl", ".ndjson"})
    if (extension == known) return true;
  return false;
}

std::vector<std::string> files_below(const std::string& directory) {
  std::vector<std::string> found;
  std::error_code error;
  for (fs::recursive_directory_iterator it(directory, error), end; !error && it != end; it.increment(error))
    if (it->is_regular_file() && is_text_name(it->path())) found.push_back(it->path().string());
  if (error) fail_data(fmt::format("cannot list '{}': {}", directory, error.message()));
  if (found.empty())
    fail_data(
        fmt::format("directory '{}' holds no *.txt, *.text, *.md, *.raw, *.jsonl or *.ndjson", directory));
  return found;
}

std::vector<std::string> files_matching(const std::string& glob) {
  const fs::path pattern(glob);
  const fs::path directory = pattern.has_parent_path() ? pattern.parent_path() : fs::path(".");
  std::vector<std::string> found;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error))
    if (it->is_regular_file() &&
        fnmatch(pattern.filename().c_str(), it->path().filename().c_str(), FNM_PERIOD) == 0)
      found.push_back(it->path().string());
  if (found.empty()) fail_data(fmt::format("no file matches '{}'", glob));
  return found;
}

// Refuses what is not text; counts what little is ill-formed.
int64_t check_text(std::string_view content, const std::string& path) {
  if (content.empty()) fail_data(fmt::format("'{}' is empty; expected UTF-8 text", path));
  if (const size_t nul = content.find('\0'); nul != std::string_view::npos)
    fail_data(fmt::format("'{}' has a NUL byte at offset {}: it is binary or UTF-16; expected UTF-8 text",
                          path, nul));
  int64_t invalid = 0;
  split_ill_formed(content, [&](std::string_view part, bool well_formed) {
    if (!well_formed) invalid += static_cast<int64_t>(part.size());
  });
  if (invalid * 10 > static_cast<int64_t>(content.size()))
    fail_data(fmt::format("'{}': {} of {} bytes are not UTF-8; expected UTF-8 text", path, invalid,
                          content.size()));
  return invalid;
}

std::string line_document(std::string_view line, const std::string& field, const std::string& place) {
  const Json object = parse_json(line, place);
  const std::string where = "'" + place + "'";
  if (!object.is_object())
    fail_data(fmt::format("{} must be a JSON object, found {}", where, object.type_name()));
  const auto found = object.find(field);
  if (found == object.end()) {
    std::string keys;
    for (const auto& [key, value] : object.items())
      if (keys.size() < 200) keys += (keys.empty() ? "'" : ", '") + key + "'";
    fail_data(fmt::format("{} has no field '{}'; it has {}", where, field, keys.empty() ? "none" : keys));
  }
  if (!found->is_string())
    fail_data(fmt::format("{}: field '{}' must be a string, found {}", where, field, found->type_name()));
  return found->get<std::string>();
}

}  // namespace

std::vector<std::string> expand_inputs(const std::vector<std::string>& inputs) {
  std::vector<std::string> files;
  std::set<std::string> seen;
  for (const std::string& input : inputs) {
    std::vector<std::string> found;
    std::error_code ignored;
    if (fs::is_directory(input, ignored)) {
      found = files_below(input);
    } else if (fs::exists(input, ignored)) {
      found = {input};
    } else if (input.find_first_of("*?") != std::string::npos) {
      found = files_matching(input);
    } else {
      fail_data(fmt::format("input '{}' does not exist", input));
    }
    std::sort(found.begin(), found.end());
    for (const std::string& file : found)
      if (seen.insert(fs::weakly_canonical(file, ignored).string()).second) files.push_back(file);
  }
  return files;
}

bool is_json_lines(const std::string& path) {
  const std::string extension = fs::path(path).extension().string();
  return extension == ".jsonl" || extension == ".ndjson";
}

CorpusFile read_documents(const std::string& path, const std::string& field,
                          const std::function<void(std::string_view document)>& sink) {
  const std::string content = read_file(path);
  CorpusFile file{path, static_cast<int64_t>(content.size())};
  file.invalid_bytes = check_text(content, path);
  std::string_view rest = content;
  if (rest.starts_with("\xEF\xBB\xBF")) rest.remove_prefix(3);
  const auto deliver = [&](std::string_view document) {
    if (document.empty()) return;
    ++file.documents;
    file.text_bytes += static_cast<int64_t>(document.size());
    sink(document);
  };
  if (!is_json_lines(path)) {
    deliver(rest);
    return file;
  }
  for (size_t number = 1; !rest.empty(); ++number) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    deliver(line_document(line, field, fmt::format("{}:{}", path, number)));
  }
  return file;
}

}  // namespace octavo
