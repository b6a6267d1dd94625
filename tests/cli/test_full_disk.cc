// SPDX-License-Identifier: Apache-2.0
// A disk that fills up while a checkpoint is saved: a clear message, and the last good checkpoint still
// loads.
#include <sys/mount.h>

#include "cli/run_octavo.h"

namespace octavo {
namespace {

class Mounted {
 public:
  explicit Mounted(const std::string& path) : path_(path) {
    fs::create_directories(path);
    done_ = ::mount("tmpfs", path.c_str(), "tmpfs", 0, "size=1200k") == 0;
  }
  ~Mounted() {
    if (done_) ::umount2(path_.c_str(), MNT_DETACH);
  }
  bool done() const { return done_; }

 private:
  std::string path_;
  bool done_ = false;
};

TEST(FullDisk, TheLastGoodCheckpointSurvives) {
  const TemporaryDirectory directory;
  prepare_data(directory / "text.txt", directory / "data");
  const Mounted disk(directory / "disk");
  if (!disk.done()) GTEST_SKIP() << "mounting a small disk needs root";
  const std::string run = directory / "disk/run";
  // One checkpoint has about 460 kB, so the third does not fit.
  const CommandResult full = octavo_command(
      tiny_run(directory / "data", run, {"--steps", "12", "--save-every", "2", "--keep", "5"}));
  EXPECT_EQ(full.code, 4) << full.err;
  EXPECT_NE(full.err.find("No space left on device"), std::string::npos) << full.err;
  EXPECT_NE(full.err.find(run), std::string::npos) << full.err;
  EXPECT_TRUE(fs::exists(run + "/checkpoints/step_00000002/MANIFEST.json"));
  for (const auto& entry : fs::directory_iterator(run + "/checkpoints"))
    EXPECT_EQ(entry.path().filename().string().find(".tmp"), std::string::npos) << entry.path();
  fs::copy(run, directory / "copy", fs::copy_options::recursive);
  const CommandResult resumed = octavo_command({"train", "--resume", directory / "copy"});
  EXPECT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_NE(resumed.err.find("resumed  " + (directory / "copy/checkpoints/step_0000000")), std::string::npos)
      << resumed.err;
}

}  // namespace
}  // namespace octavo
