// SPDX-License-Identifier: Apache-2.0
#include "octavo/io/checkpoint_dir.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/base/quote_name.h"
#include "octavo/io/json_file.h"

namespace octavo {
namespace {

namespace fs = std::filesystem;

constexpr const char* kManifestName = "MANIFEST.json";
constexpr const char* kManifestFormat = "octavo-manifest-1";

/// Size and checksum of a file; `sync` also forces it to disk.
Manifest::File describe_file(const std::string& path, const std::string& name, bool sync) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail_errno("cannot open", path);
  struct Closer {
    int fd;
    ~Closer() { ::close(fd); }
  } closer{fd};
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  Manifest::File file{name, 0, ""};
  constexpr size_t kBlock = 1 << 20;
  const auto block = std::make_unique<char[]>(kBlock);
  for (;;) {
    const ssize_t got = ::read(fd, block.get(), kBlock);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_errno("cannot read", path);
    if (got == 0) break;
    XXH3_64bits_update(&state, block.get(), static_cast<size_t>(got));
    file.size += static_cast<uint64_t>(got);
  }
  if (sync && ::fsync(fd) != 0 && errno != EINVAL && errno != EROFS) fail_errno("cannot sync", path);
  file.xxh3_64 = fmt::format("{:016x}", XXH3_64bits_digest(&state));
  return file;
}

void write_manifest(const std::string& directory, const Manifest& manifest) {
  nlohmann::ordered_json document;
  document["format"] = kManifestFormat;
  document["info"] = manifest.info;
  document["files"] = nlohmann::ordered_json::array();
  for (const Manifest::File& file : manifest.files) {
    document["files"].push_back({{"name", file.name}, {"size", file.size}, {"xxh3_64", file.xxh3_64}});
  }
  std::string text;
  try {
    text = document.dump(2) + "\n";
  } catch (const nlohmann::json::exception&) {
    fail_data(fmt::format("cannot write the manifest of '{}': a name in it is not valid UTF-8", directory));
  }
  FileWriter writer(directory + "/" + kManifestName);
  writer.write(text);
  writer.close();
}

bool is_safe_relative(const std::string& name) {
  const fs::path path(name);
  if (name.empty() || path.is_absolute() || name.find('\0') != std::string::npos) return false;
  return std::none_of(path.begin(), path.end(), [](const fs::path& part) { return part == ".."; });
}

Manifest read_manifest(const std::string& directory) {
  const std::string path = directory + "/" + kManifestName;
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    fail_data(fmt::format("'{}' is not a complete checkpoint: it has no {}", directory, kManifestName));
  }
  const JsonObject document = JsonObject::read(path);
  if (const std::string format = document.get_string("format"); format != kManifestFormat) {
    fail_data(
        fmt::format("'{}': the format is {}, expected '{}'", path, quote_name(format), kManifestFormat));
  }
  Manifest manifest;
  const JsonObject info = document.get_object("info");
  for (const std::string& key : info.keys()) manifest.info[key] = info.get_string(key);
  for (const JsonObject& file : document.get_object_array("files")) {
    const int64_t size = file.get_int("size");
    manifest.files.push_back(
        {file.get_string("name"), static_cast<uint64_t>(size), file.get_string("xxh3_64")});
    if (!is_safe_relative(manifest.files.back().name) || size < 0) {
      fail_data(fmt::format("'{}': the entry {} is not a file of this directory with a size of 0 or more",
                            path, quote_name(manifest.files.back().name)));
    }
  }
  return manifest;
}

/// The name before "<mark><digits>" and the digits, when `name` ends so.
std::optional<std::pair<std::string, pid_t>> split_temporary(const std::string& name, std::string_view mark) {
  const size_t at = name.rfind(mark);
  if (at == std::string::npos || at == 0) return std::nullopt;
  const char* begin = name.data() + at + mark.size();
  const char* end = name.data() + name.size();
  pid_t pid = 0;
  const auto [stop, error] = std::from_chars(begin, end, pid);
  if (error != std::errc() || stop != end || pid <= 0) return std::nullopt;
  return std::pair(name.substr(0, at), pid);
}

bool is_other_live_process(pid_t pid) { return pid != ::getpid() && (::kill(pid, 0) == 0 || errno == EPERM); }

/// Replacing removes the old directory, so it must be one of ours (or empty): a mistyped path costs nobody a
/// folder.
void check_replaceable(const std::string& path) {
  std::error_code error;
  const bool directory = fs::is_directory(fs::symlink_status(path, error));
  if (directory && (fs::is_empty(path, error) || fs::exists(path + "/" + kManifestName, error))) return;
  fail_data(fmt::format("'{}' is already there and is not a directory with a {}, so it is not replaced", path,
                        kManifestName));
}

std::string parent_of(const std::string& path) {
  const std::string parent = fs::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

}  // namespace

AtomicDirectory::AtomicDirectory(const std::string& final_path) : final_path_(final_path) {
  while (final_path_.size() > 1 && final_path_.ends_with('/')) final_path_.pop_back();
  path_ = fmt::format("{}.tmp-{}", final_path_, ::getpid());
  std::error_code error;
  fs::remove_all(path_, error);
  fs::create_directories(path_, error);
  if (error) fail_data(fmt::format("cannot create directory '{}': {}", path_, error.message()));
}

AtomicDirectory::~AtomicDirectory() {
  std::error_code ignored;
  if (!committed_) fs::remove_all(path_, ignored);
}

void AtomicDirectory::commit(const std::map<std::string, std::string>& info) {
  Manifest manifest;
  manifest.info = info;
  std::vector<std::string> directories;
  try {
    for (const auto& entry : fs::recursive_directory_iterator(path_)) {
      const std::string name = entry.path().lexically_relative(path_).generic_string();
      if (entry.is_symlink() || (!entry.is_directory() && !entry.is_regular_file())) {
        fail_data(
            fmt::format("cannot commit '{}': {} is neither a file nor a directory", path_, quote_name(name)));
      } else if (entry.is_directory()) {
        directories.push_back(entry.path().string());
      } else if (name != kManifestName) {
        manifest.files.push_back(describe_file(entry.path().string(), name, true));
      }
    }
  } catch (const fs::filesystem_error& error) {
    fail_data(fmt::format("cannot list '{}': {}", path_, error.code().message()));
  }
  std::sort(manifest.files.begin(), manifest.files.end(),
            [](const Manifest::File& a, const Manifest::File& b) { return a.name < b.name; });
  for (const std::string& directory : directories) sync_directory(directory);
  write_manifest(path_, manifest);
  sync_directory(path_);
  move_into_place();
  committed_ = true;
  sync_directory(parent_of(final_path_));
}

void AtomicDirectory::move_into_place() {
  std::error_code ignored;
  if (::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, final_path_.c_str(), RENAME_NOREPLACE) == 0) return;
  if (errno == EEXIST) {
    check_replaceable(final_path_);
    if (::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, final_path_.c_str(), RENAME_EXCHANGE) == 0) {
      sync_directory(parent_of(final_path_));
      fs::remove_all(path_, ignored);
      return;
    }
  }
  if (errno != EINVAL && errno != ENOSYS) fail_errno("cannot move the finished directory to", final_path_);
  // A file system without these flags: two steps, and remove_stale_temporaries() mends a crash between them.
  const std::string old = fmt::format("{}.old-{}", final_path_, ::getpid());
  const bool replaces = ::rename(final_path_.c_str(), old.c_str()) == 0;
  if (::rename(path_.c_str(), final_path_.c_str()) != 0) {
    const int code = errno;
    if (replaces) ::rename(old.c_str(), final_path_.c_str());
    errno = code;
    fail_errno("cannot move the finished directory to", final_path_);
  }
  if (replaces) fs::remove_all(old, ignored);
}

Manifest verify_directory(const std::string& path, bool checksums) {
  Manifest manifest = read_manifest(path);
  for (const Manifest::File& expected : manifest.files) {
    const std::string file = path + "/" + expected.name;
    struct stat status {};
    if (::stat(file.c_str(), &status) != 0)
      fail_errno("the manifest lists a file that cannot be read:", file);
    if (!S_ISREG(status.st_mode)) fail_data(fmt::format("'{}' is damaged: it is not a file", file));
    if (static_cast<uint64_t>(status.st_size) != expected.size) {
      fail_data(fmt::format("'{}' is damaged: it has {} bytes, the manifest says {}", file, status.st_size,
                            expected.size));
    }
    if (!checksums) continue;
    const Manifest::File actual = describe_file(file, expected.name, false);
    if (actual.xxh3_64 != expected.xxh3_64) {
      fail_data(fmt::format("'{}' is damaged: its checksum is {}, the manifest says {}", file, actual.xxh3_64,
                            quote_name(expected.xxh3_64)));
    }
  }
  return manifest;
}

std::vector<std::string> remove_stale_temporaries(const std::string& parent) {
  std::vector<std::string> names, handled;
  std::error_code error;
  for (fs::directory_iterator entry(parent, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (entry->is_directory(ignored) && !entry->is_symlink(ignored)) {
      names.push_back(entry->path().filename().string());
    }
  }
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    const std::string path = parent + "/" + name;
    const auto old = split_temporary(name, ".old-");
    const auto temporary = old ? old : split_temporary(name, ".tmp-");
    if (!temporary || is_other_live_process(temporary->second)) continue;
    const std::string original = parent + "/" + temporary->first;
    if (old && !fs::exists(original, error)) {
      fs::rename(path, original, error);
    } else {
      fs::remove_all(path, error);
    }
    if (error) fail_data(fmt::format("cannot clean up '{}': {}", path, error.message()));
    handled.push_back(name);
  }
  return handled;
}

}  // namespace octavo
