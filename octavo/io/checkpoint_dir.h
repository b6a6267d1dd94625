// SPDX-License-Identifier: Apache-2.0
// Directories that are either complete or absent, whatever happens in between.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace octavo {

/// Content of MANIFEST.json: every other file of the directory (paths relative to it, sorted) and the
/// caller's own entries.
struct Manifest {
  struct File {
    std::string name;
    uint64_t size = 0;
    std::string xxh3_64;  ///< 16 hex digits of XXH3-64 with seed 0 over the content
  };
  std::map<std::string, std::string> info;
  std::vector<File> files;
};

/// A directory under construction. Usage: write files into path(), then commit(). Until then everything lives
/// in
/// "<final_path>.tmp-<pid>"; the destructor removes that when commit() did not happen or failed.
class AtomicDirectory {
 public:
  /// Creates the temporary directory (and missing parents of `final_path`); one left by a dead process is
  /// replaced.
  explicit AtomicDirectory(const std::string& final_path);
  ~AtomicDirectory();
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;

  const std::string& path() const { return path_; }

  /// Checksums and syncs every file, writes MANIFEST.json last, syncs the directories and renames into place.
  /// A directory at final_path that is empty or has a manifest is exchanged in one step and then removed;
  /// anything else there is refused. Throws bad_data with the reason ("No space left on device"); what was at
  /// final_path is then untouched.
  void commit(const std::map<std::string, std::string>& info = {});

 private:
  void move_into_place();

  std::string final_path_;
  std::string path_;
  bool committed_ = false;
};

/// Checks a directory against its MANIFEST.json and gives the manifest. Throws bad_data naming the first
/// damaged or missing file. Files the manifest does not list are none of its business. Without `checksums`
/// only presence and sizes are checked, which finds an incomplete copy at once.
Manifest verify_directory(const std::string& path, bool checksums = true);

/// Cleans up after processes that died while saving below `parent`: removes "*.tmp-<pid>", and where a
/// replacement on a file system without exchange was cut short ("*.old-<pid>") puts the old directory back.
/// Leaves those of other live processes of this machine alone; call it before this process opens an
/// AtomicDirectory there. Returns what was removed or put back.
std::vector<std::string> remove_stale_temporaries(const std::string& parent);

}  // namespace octavo
