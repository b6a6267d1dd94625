// SPDX-License-Identifier: Apache-2.0
// Decode and encode against tables made by another implementation (see the README of the shared data).
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "octavo/numerics/encode.h"
#include "tests/shared_data.h"

namespace octavo {
namespace {

void check_decode(Format f) {
  const auto path = shared_data("fp8-ocp-tables/decode_" + std::string(to_string(f)) + ".tsv");
  if (!path) GTEST_SKIP() << "no OCP tables here";
  std::ifstream in(*path);
  std::string line, code, value;
  std::getline(in, line);
  int rows = 0;
  while (std::getline(in, line)) {
    std::istringstream(line) >> code >> value;
    const float actual = decode(f, static_cast<uint32_t>(std::stoul(code, nullptr, 16)));
    const double expected = std::strtod(value.c_str(), nullptr);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(actual)) << line;
    } else {
      EXPECT_EQ(actual, expected) << line;
      EXPECT_EQ(std::signbit(actual), std::signbit(expected)) << line;
    }
    ++rows;
  }
  EXPECT_EQ(rows, 256);
}

void expect_code(Format f, float x, Overflow overflow, const std::string& cell, const std::string& line) {
  const uint32_t actual = encode(f, x, Rounding::nearest_even, overflow);
  const uint32_t expected = static_cast<uint32_t>(std::stoul(cell, nullptr, 16));
  // The tables write every NaN as 0xff; its sign is ours to keep.
  if (std::isnan(decode(f, expected))) {
    EXPECT_TRUE(std::isnan(decode(f, actual))) << line;
  } else {
    EXPECT_EQ(actual, expected) << line;
  }
}

void check_encode(Format f, int least_rows) {
  const auto path = shared_data("fp8-ocp-tables/encode_rne_" + std::string(to_string(f)) + ".tsv");
  if (!path) GTEST_SKIP() << "no OCP tables here";
  std::ifstream in(*path);
  std::string line, bits, saturated, open;
  std::getline(in, line);
  int rows = 0;
  while (std::getline(in, line)) {
    std::istringstream(line) >> bits >> saturated >> open;
    const float x = float_from_bits(static_cast<uint32_t>(std::stoul(bits, nullptr, 16)));
    expect_code(f, x, Overflow::saturate, saturated, line);
    expect_code(f, x, Overflow::inf, open, line);
    ++rows;
  }
  EXPECT_GE(rows, least_rows);
}

TEST(OcpTables, DecodeE4m3) { check_decode(Format::e4m3); }
TEST(OcpTables, DecodeE5m2) { check_decode(Format::e5m2); }
TEST(OcpTables, DecodeE8m0) { check_decode(Format::e8m0); }
TEST(OcpTables, EncodeE4m3) { check_encode(Format::e4m3, 3568); }
TEST(OcpTables, EncodeE5m2) { check_encode(Format::e5m2, 3532); }

}  // namespace
}  // namespace octavo
