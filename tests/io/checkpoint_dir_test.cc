// SPDX-License-Identifier: Apache-2.0
#include "octavo/io/checkpoint_dir.h"

#include <sys/mount.h>
#include <sys/wait.h>

#include "io/io_test_util.h"
#include "octavo/base/file.h"

namespace octavo {
namespace {

namespace fs = std::filesystem;

void save(const std::string& path, const std::string& content, const std::string& step) {
  AtomicDirectory directory(path);
  FileWriter writer(directory.path() + "/weights.bin");
  writer.write(content);
  writer.close();
  fs::create_directory(directory.path() + "/sub");
  put_file(directory.path() + "/sub/state.json", "{}");
  directory.commit({{"step", step}});
}

size_t entries_of(const std::string& path) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(path), fs::directory_iterator()));
}

/// A process id that no process has: that of a child which has ended.
pid_t dead_process() {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ::waitpid(child, nullptr, 0);
  return child;
}

TEST(AtomicDirectory, CommitMakesAVerifiedDirectory) {
  const TempDir dir;
  const std::string path = dir / "new/parent/step_1";
  save(path, "abc", "1");
  const Manifest manifest = verify_directory(path);
  EXPECT_EQ(manifest.info.at("step"), "1");
  ASSERT_EQ(manifest.files.size(), 2u);
  EXPECT_EQ(manifest.files[0].name, "sub/state.json");
  EXPECT_EQ(manifest.files[1].name, "weights.bin");
  EXPECT_EQ(manifest.files[1].size, 3u);
  EXPECT_EQ(manifest.files[1].xxh3_64, "78af5f94892f3950");  // XXH3-64 of "abc", as xxhsum -H3 prints it
  EXPECT_EQ(entries_of(dir / "new/parent"), 1u);
}

TEST(AtomicDirectory, ReplacesAnOlderOne) {
  const TempDir dir;
  save(dir / "final", "old", "1");
  save(dir / "final", "new content", "2");
  EXPECT_EQ(read_file(dir / "final/weights.bin"), "new content");
  EXPECT_EQ(verify_directory(dir / "final").info.at("step"), "2");
  EXPECT_EQ(entries_of(dir.path()), 1u);
}

TEST(AtomicDirectory, RefusesToReplaceWhatIsNotACheckpoint) {
  const TempDir dir;
  fs::create_directory(dir / "precious");
  put_file(dir / "precious/thesis.txt", "years of work");
  expect_contains(error_of([&] { save(dir / "precious", "x", "1"); }), "is not replaced");
  put_file(dir / "file", "also precious");
  expect_contains(error_of([&] { save(dir / "file", "x", "1"); }), "is not replaced");
  EXPECT_EQ(read_file(dir / "precious/thesis.txt"), "years of work");
  EXPECT_EQ(read_file(dir / "file"), "also precious");
  EXPECT_EQ(entries_of(dir.path()), 2u);
  fs::create_directory(dir / "empty");
  save(dir / "empty/", "x", "1");
  EXPECT_EQ(verify_directory(dir / "empty").files.size(), 2u);
}

TEST(AtomicDirectory, WithoutCommitNothingRemains) {
  const TempDir dir;
  save(dir / "final", "old", "1");
  {
    AtomicDirectory directory(dir / "final");
    put_file(directory.path() + "/weights.bin", "half");
  }
  EXPECT_EQ(entries_of(dir.path()), 1u);
  EXPECT_EQ(verify_directory(dir / "final").info.at("step"), "1");
}

TEST(AtomicDirectory, LinksAreNotCommitted) {
  const TempDir dir;
  expect_contains(error_of([&] {
                    AtomicDirectory directory(dir / "final");
                    fs::create_symlink("/etc/passwd", directory.path() + "/link");
                    directory.commit();
                  }),
                  "'link' is neither a file nor a directory");
  EXPECT_EQ(entries_of(dir.path()), 0u);
}

TEST(VerifyDirectory, NamesWhatIsDamaged) {
  const TempDir dir;
  const std::string path = dir / "c", weights = path + "/weights.bin";
  const auto message = [&](bool checksums = true) {
    return error_of([&] { verify_directory(path, checksums); });
  };
  save(path, "abcdef", "1");
  put_file(weights, "abcdeF");
  expect_contains(message(), weights + "' is damaged: its checksum is ");
  EXPECT_NO_THROW(verify_directory(path, false));
  put_file(weights, "abc");
  expect_contains(message(false), weights + "' is damaged: it has 3 bytes, the manifest says 6");
  fs::remove(weights);
  expect_contains(message(), weights + "': No such file");
  put_file(path + "/MANIFEST.json", "{\"format\":");
  expect_contains(message(), "MANIFEST.json': not valid JSON");
  fs::remove(path + "/MANIFEST.json");
  expect_contains(message(), path + "' is not a complete checkpoint");
}

TEST(VerifyDirectory, HostileManifests) {
  const TempDir dir;
  const auto message = [&](const std::string& name, const std::string& size) {
    put_file(dir / "MANIFEST.json", R"({"format":"octavo-manifest-1","info":{},"files":[{"name":")" + name +
                                        R"(","size":)" + size + R"(,"xxh3_64":"0"}]})");
    return error_of([&] { verify_directory(dir.path()); });
  };
  for (const std::string name : {"../x", "/etc/passwd", "a/../../x", "", "a\\u0000b"}) {
    expect_contains(message(name, "1"), "is not a file of this directory");
  }
  expect_contains(message("x", "-1"), "is not a file of this directory");
  expect_contains(message("x", "1e3"), "key 'files[0].size'");
  expect_contains(message(".", "1"), "it is not a file");
  put_file(dir / "MANIFEST.json", R"({"format":"other"})");
  expect_contains(error_of([&] { verify_directory(dir.path()); }), "the format is 'other'");
}

TEST(RemoveStaleTemporaries, RemovesOnlyWhatDeadProcessesLeft) {
  const TempDir dir;
  const std::string dead = std::to_string(dead_process()), live = std::to_string(::getppid());
  for (const std::string& name : {"a.tmp-" + dead, "b.tmp-" + live, std::string("c.tmp-x"), std::string("d"),
                                  "e.old-" + dead, "f.old-" + dead, std::string("f")}) {
    fs::create_directory(dir / name);
    put_file(dir / (name + "/file"), name);
  }
  put_file(dir / ("g.tmp-" + dead), "a file, not a directory");
  EXPECT_EQ(remove_stale_temporaries(dir.path()),
            (std::vector<std::string>{"a.tmp-" + dead, "e.old-" + dead, "f.old-" + dead}));
  EXPECT_FALSE(fs::exists(dir / ("a.tmp-" + dead)));
  EXPECT_TRUE(fs::exists(dir / ("b.tmp-" + live)));
  EXPECT_TRUE(fs::exists(dir / "c.tmp-x"));
  EXPECT_EQ(read_file(dir / "e/file"), "e.old-" + dead);  // its replacement never came
  EXPECT_EQ(read_file(dir / "f/file"), "f");
  EXPECT_TRUE(fs::exists(dir / ("g.tmp-" + dead)));
  EXPECT_TRUE(remove_stale_temporaries(dir / "absent").empty());
}

/// A file system of 64 KiB, where this process may mount one.
class FullDisk : public testing::Test {
 protected:
  void SetUp() override {
    if (::mount("tmpfs", dir_.path().c_str(), "tmpfs", 0, "size=64k") != 0)
      GTEST_SKIP() << "cannot mount a tmpfs";
    mounted_ = true;
  }
  void TearDown() override {
    if (mounted_) ::umount2(dir_.path().c_str(), MNT_DETACH);
  }
  TempDir dir_;
  bool mounted_ = false;
};

TEST_F(FullDisk, WhileWritingDataLeavesTheOldCheckpointIntact) {
  save(dir_ / "final", std::string(8000, 'o'), "1");
  const std::string message = error_of([&] { save(dir_ / "final", std::string(100'000, 'n'), "2"); });
  expect_contains(message, "No space left on device");
  expect_contains(message, "weights.bin");
  EXPECT_EQ(verify_directory(dir_ / "final").info.at("step"), "1");
  EXPECT_EQ(entries_of(dir_.path()), 1u);
  save(dir_ / "final", std::string(8000, 'n'), "3");  // and the space is free again
  EXPECT_EQ(verify_directory(dir_ / "final").info.at("step"), "3");
}

TEST_F(FullDisk, WhileWritingTheManifestLeavesTheOldCheckpointIntact) {
  save(dir_ / "final", std::string(8000, 'o'), "1");
  const std::string message = error_of([&] {
    AtomicDirectory directory(dir_ / "final");
    FileWriter filler(directory.path() + "/filler");
    const std::string page(4096, 'f');
    try {
      for (;;) filler.write(page);
    } catch (const Error&) {
    }
    directory.commit();
  });
  expect_contains(message, "No space left on device");
  expect_contains(message, "MANIFEST.json");
  EXPECT_EQ(verify_directory(dir_ / "final").info.at("step"), "1");
  EXPECT_EQ(entries_of(dir_.path()), 1u);
}

}  // namespace
}  // namespace octavo
