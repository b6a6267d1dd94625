// SPDX-License-Identifier: Apache-2.0
#include "octavo/base/file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "cli/run_octavo.h"
#include "octavo/base/error.h"

namespace octavo {
namespace {

TEST(File, AtomicWriteReplacesOrLeavesAlone) {
  const TemporaryDirectory directory;
  const std::string path = directory / "file";
  write_file_atomic(path, "one");
  write_file_atomic(path, std::string("t\0w", 3));
  EXPECT_EQ(read_file(path), std::string("t\0w", 3));

  // The limit on file sizes stands in for a full disk.
  const auto old_handler = ::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  rlimit small = before;
  small.rlim_cur = 1000;
  ::setrlimit(RLIMIT_FSIZE, &small);
  bool failed = false;
  try {
    write_file_atomic(path, std::string(5000, 'x'));
  } catch (const Error& error) {
    failed = std::string(error.what()).find(path) != std::string::npos;
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, old_handler);
  EXPECT_TRUE(failed);
  EXPECT_EQ(read_file(path), std::string("t\0w", 3));
  EXPECT_EQ(all_files(directory.path()).size(), 1u) << "a temporary file was left behind";
}

TEST(File, ErrorsNameThePath) {
  const TemporaryDirectory directory;
  for (const std::string& path : {directory / "absent", directory.path()}) {
    for (const std::function<void()>& read : {std::function<void()>([&] { read_file(path); }),
                                              std::function<void()>([&] { MappedFile{path}; })}) {
      try {
        read();
        ADD_FAILURE() << path;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ExitCode::bad_data);
        EXPECT_NE(std::string(error.what()).find(path), std::string::npos) << error.what();
      }
    }
  }
  EXPECT_THROW(write_file_atomic(directory / "no/such/file", "x"), Error);
}

TEST(File, MapsMove) {
  const TemporaryDirectory directory;
  spill(directory / "a", "abc");
  spill(directory / "empty", "");
  MappedFile a(directory / "a"), b;
  b = std::move(a);
  EXPECT_EQ(b.bytes().size(), 3u);
  EXPECT_EQ(static_cast<char>(b.bytes()[2]), 'c');
  EXPECT_TRUE(MappedFile(directory / "empty").bytes().empty());
}

}  // namespace
}  // namespace octavo
