// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/tokenizer.h"

#include <fmt/format.h>

#include <filesystem>

#include "octavo/base/checksum.h"
#include "octavo/base/error.h"
#include "octavo/data/tokenizer_readers.h"

namespace octavo {
namespace {

namespace fs = std::filesystem;

enum class Kind { hugging_face, sentencepiece, gpt2, llama2c };

struct Found {
  Kind kind;
  std::string path;  // for gpt2 the directory
};

Found find_in_directory(const std::string& directory) {
  const auto has = [&](const char* name) { return fs::exists(fs::path(directory) / name); };
  const auto file = [&](const char* name) { return (fs::path(directory) / name).string(); };
  if (has("tokenizer.json")) return {Kind::hugging_face, file("tokenizer.json")};
  if (has("tokenizer.model")) return {Kind::sentencepiece, file("tokenizer.model")};
  if (has("vocab.json") && has("merges.txt")) return {Kind::gpt2, directory};
  if (has("tokenizer.bin")) return {Kind::llama2c, file("tokenizer.bin")};
  fail_data(fmt::format(
      "'{}' holds no tokenizer: expected tokenizer.json, tokenizer.model, vocab.json with merges.txt, "
      "or tokenizer.bin",
      directory));
}

Found find_tokenizer(const std::string& path) {
  const fs::path given(path);
  std::error_code ignored;
  if (fs::is_directory(given, ignored)) return find_in_directory(path);
  if (!fs::exists(given, ignored)) fail_data(fmt::format("tokenizer '{}' does not exist", path));
  const std::string name = given.filename().string(), extension = given.extension().string();
  if (name == "vocab.json" || name == "merges.txt")
    return {Kind::gpt2, given.has_parent_path() ? given.parent_path().string() : "."};
  if (extension == ".json") return {Kind::hugging_face, path};
  if (extension == ".model") return {Kind::sentencepiece, path};
  if (extension == ".bin") return {Kind::llama2c, path};
  fail_data(fmt::format(
      "'{}' is no tokenizer file: expected *.json, *.model, *.bin, vocab.json or merges.txt", path));
}

}  // namespace

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_bos, bool parse_special) const {
  std::vector<int32_t> ids;
  if (add_bos && bos()) ids.push_back(*bos());
  encode_to(text, parse_special, ids);
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string text;
  for (const int32_t id : ids) {
    check_id(id);
    if (!(skip_special && vocabulary_.special[id])) text += vocabulary_.bytes[id];
  }
  size_t strip = 0;
  while (strip < static_cast<size_t>(vocabulary_.stripped_spaces) && strip < text.size() &&
         text[strip] == ' ')
    ++strip;
  return text.substr(strip);
}

void Tokenizer::check_id(int32_t id) const {
  if (id < 0 || id >= vocab_size())
    fail_data(fmt::format("token id {} is outside the vocabulary of {} tokens", id, vocab_size()));
}

const std::string& Tokenizer::token_bytes(int32_t id) const {
  check_id(id);
  return vocabulary_.bytes[id];
}

const std::string& Tokenizer::token_text(int32_t id) const {
  check_id(id);
  return vocabulary_.text[id];
}

bool Tokenizer::is_special(int32_t id) const {
  check_id(id);
  return vocabulary_.special[id];
}

std::optional<int32_t> Tokenizer::find(std::string_view token) const {
  const auto found = vocabulary_.ids.find(token);
  return found == vocabulary_.ids.end() ? std::nullopt : std::optional(found->second);
}

uint64_t Tokenizer::fingerprint() const {
  uint64_t hash = static_cast<uint64_t>(vocab_size());
  for (const std::string& bytes : vocabulary_.bytes) hash = checksum64(bytes.data(), bytes.size(), hash);
  return hash;
}

std::unique_ptr<Tokenizer> load_tokenizer(const std::string& path) {
  const Found found = find_tokenizer(path);
  switch (found.kind) {
    case Kind::hugging_face:
      return read_tokenizer_json(found.path);
    case Kind::sentencepiece:
      return read_sentencepiece_model(found.path);
    case Kind::gpt2:
      return read_gpt2_files(found.path);
    case Kind::llama2c:
      return read_llama2c_tokenizer(found.path);
  }
  fail_data("unreachable tokenizer kind");
}

std::vector<std::string> tokenizer_files(const std::string& path) {
  const Found found = find_tokenizer(path);
  const fs::path directory =
      found.kind == Kind::gpt2 ? fs::path(found.path) : fs::path(found.path).parent_path();
  std::vector<std::string> files;
  if (found.kind == Kind::gpt2) {
    files = {(directory / "vocab.json").string(), (directory / "merges.txt").string()};
  } else {
    files = {found.path};
  }
  for (const char* companion : {"tokenizer_config.json", "special_tokens_map.json"})
    if (fs::exists(directory / companion)) files.push_back((directory / companion).string());
  return files;
}

}  // namespace octavo
