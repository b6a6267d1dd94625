// SPDX-License-Identifier: Apache-2.0
#include "octavo/lab/lab_data.h"

#include "cli/run_octavo.h"
#include "lab/lab_testing.h"
#include "octavo/data/dataset.h"

namespace octavo {
namespace {

TEST(LabData, ATextIsPreparedOnce) {
  const TemporaryDirectory directory;
  spill(directory / "text.txt", generated_text(4000));
  fs::create_directories(directory / "lab");
  // As a process leaves it that was killed while preparing.
  fs::create_directories(directory / "lab/data.part");
  spill(directory / "lab/data.part/train_000000.octok", "half");
  int calls = 0;
  const auto count = [&](const char*, int64_t, int64_t) { ++calls; };
  const std::string data = lab_data(directory / "text.txt", 300, directory / "lab", count);
  EXPECT_EQ(data, directory / "lab/data");
  EXPECT_EQ(read_dataset(data).vocab_size, 300);
  EXPECT_GT(calls, 0);
  EXPECT_FALSE(fs::exists(directory / "lab/data.part"));
  calls = 0;
  EXPECT_EQ(lab_data(directory / "text.txt", 300, directory / "lab", count), data);
  EXPECT_EQ(calls, 0);
  // A data set stands for itself.
  EXPECT_EQ(lab_data(data, 4096, directory / "other"), data);
  EXPECT_FALSE(fs::exists(directory / "other"));
}

TEST(LabData, OtherDataOfTheSameNameIsRefused) {
  const TemporaryDirectory directory;
  spill(directory / "text.txt", generated_text(4000));
  spill(directory / "other.txt", generated_text(4000, 2));
  const std::string lab = directory / "lab";
  fs::create_directories(lab);
  lab_data(directory / "text.txt", 300, lab);
  expect_error([&] { lab_data(directory / "text.txt", 301, lab); }, ExitCode::usage,
               {"lab/data", "300", "301"});
  expect_error([&] { lab_data(directory / "other.txt", 300, lab); }, ExitCode::usage,
               {"text.txt", "other.txt"});
  spill(directory / "text.txt", generated_text(5000));
  expect_error([&] { lab_data(directory / "text.txt", 300, lab); }, ExitCode::usage, {"text.txt", "bytes"});
  fs::create_directories(directory / "mine/data");
  expect_error([&] { lab_data(directory / "text.txt", 300, directory / "mine"); }, ExitCode::usage,
               {"mine/data"});
  EXPECT_TRUE(fs::exists(directory / "mine/data"));
}

TEST(LabData, WhatCannotBeCompared) {
  const TemporaryDirectory directory;
  expect_error([&] { lab_data(directory / "nowhere", 300, directory / "lab"); }, ExitCode::bad_data,
               {"nowhere"});
  fs::create_directories(directory / "empty");
  expect_error([&] { lab_data(directory / "empty", 300, directory / "lab"); }, ExitCode::bad_data,
               {"dataset.json"});
  spill(directory / "short.txt", "one");
  EXPECT_THROW(lab_data(directory / "short.txt", 300, directory / "lab"), Error);
  EXPECT_FALSE(fs::exists(directory / "lab/data"));
}

}  // namespace
}  // namespace octavo
