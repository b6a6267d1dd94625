// SPDX-License-Identifier: Apache-2.0
#include "octavo/io/tensorboard.h"

#include <cmath>
#include <cstring>

#include "io/io_test_util.h"

namespace octavo {
namespace {

/// Bit by bit, unlike the table of the writer.
uint32_t slow_crc(std::string_view data) {
  uint32_t crc = ~0u;
  for (const char c : data) {
    crc ^= static_cast<unsigned char>(c);
    for (int i = 0; i < 8; ++i) crc = crc & 1 ? crc >> 1 ^ 0x82F63B78u : crc >> 1;
  }
  return ~crc;
}

uint32_t masked(uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xA282EAD8u; }

template <class T>
T fixed(std::string_view bytes, size_t at) {
  T value;
  if (at + sizeof value > bytes.size()) throw std::runtime_error("short");
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

struct Field {
  unsigned number = 0;
  uint64_t integer = 0;    // varint and fixed
  std::string_view bytes;  // length-delimited
};

std::vector<Field> fields_of(std::string_view message) {
  std::vector<Field> result;
  size_t at = 0;
  const auto varint = [&] {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<unsigned char>(message.at(at++));
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < message.size()) {
    const uint64_t key = varint();
    Field field{static_cast<unsigned>(key >> 3), 0, {}};
    switch (key & 7) {
      case 0:
        field.integer = varint();
        break;
      case 1:
        field.integer = fixed<uint64_t>(message, at), at += 8;
        break;
      case 5:
        field.integer = fixed<uint32_t>(message, at), at += 4;
        break;
      case 2: {
        const uint64_t length = varint();
        field.bytes = message.substr(at, length);
        at += length;
        break;
      }
      default:
        ADD_FAILURE() << "wire type " << (key & 7);
        return result;
    }
    result.push_back(field);
  }
  EXPECT_EQ(at, message.size());
  return result;
}

struct ReadEvent {
  double wall_time = 0;
  int64_t step = 0;
  std::string version;
  std::vector<std::pair<std::string, float>> values;
};

std::vector<ReadEvent> read_events(const std::string& path) {
  const std::string file = read_file(path);
  std::vector<ReadEvent> events;
  for (size_t at = 0; at < file.size();) {
    const auto length = fixed<uint64_t>(file, at);
    EXPECT_EQ(fixed<uint32_t>(file, at + 8), masked(slow_crc(std::string_view(file).substr(at, 8))));
    const std::string_view data = std::string_view(file).substr(at + 12, length);
    EXPECT_EQ(fixed<uint32_t>(file, at + 12 + length), masked(slow_crc(data)));
    at += 16 + length;
    ReadEvent& event = events.emplace_back();
    for (const Field& field : fields_of(data)) {
      if (field.number == 1) std::memcpy(&event.wall_time, &field.integer, 8);
      if (field.number == 2) event.step = static_cast<int64_t>(field.integer);
      if (field.number == 3) event.version = field.bytes;
      if (field.number != 5) continue;
      for (const Field& value : fields_of(field.bytes)) {
        EXPECT_EQ(value.number, 1u);
        auto& pair = event.values.emplace_back();
        for (const Field& part : fields_of(value.bytes)) {
          if (part.number == 1) pair.first = part.bytes;
          if (part.number == 2) {
            const auto bits = static_cast<uint32_t>(part.integer);
            std::memcpy(&pair.second, &bits, 4);
          }
        }
      }
    }
  }
  return events;
}

TEST(Crc32c, KnownValues) {
  const auto crc = [](std::string_view text) { return crc32c(std::as_bytes(std::span(text))); };
  EXPECT_EQ(crc("123456789"), 0xE3069283u);
  EXPECT_EQ(crc(std::string(32, '\0')), 0x8A9136AAu);  // RFC 3720, B.4
  EXPECT_EQ(crc(std::string(32, '\xFF')), 0x62A8AB43u);
  EXPECT_EQ(crc(""), 0u);
}

TEST(EventFileWriter, ReadsBack) {
  const TempDir dir;
  EventFileWriter writer(dir / "tb", 1700000000.25);
  writer.add_scalar("loss/train", 0, 3.5f, 1700000001.5);
  const std::vector<std::pair<std::string, float>> values = {{"a", -0.0f}, {std::string(300, 'n'), 1e-30f}};
  writer.add_scalars(int64_t{1} << 40, values, 1700000002);
  writer.close();
  expect_contains(writer.path(), "/tb/events.out.tfevents.1700000000.");
  const auto events = read_events(writer.path());
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].version, "brain.Event:2");
  EXPECT_EQ(events[0].wall_time, 1700000000.25);
  EXPECT_EQ(events[1].wall_time, 1700000001.5);
  EXPECT_EQ(events[1].step, 0);
  EXPECT_EQ(events[1].values, (std::vector<std::pair<std::string, float>>{{"loss/train", 3.5f}}));
  EXPECT_EQ(events[2].step, int64_t{1} << 40);
  EXPECT_EQ(events[2].values, values);
  EXPECT_TRUE(std::signbit(events[2].values[0].second));
}

TEST(EventFileWriter, EveryRunHasItsOwnFile) {
  const TempDir dir;
  std::vector<std::string> paths;
  for (int run = 0; run < 3; ++run) {
    EventFileWriter writer(dir.path(), 1700000000);
    writer.add_scalar("x", run, static_cast<float>(run));
    paths.push_back(writer.path());  // and no close(): the destructor flushes
  }
  for (int run = 0; run < 3; ++run) {
    const auto events = read_events(paths[static_cast<size_t>(run)]);
    ASSERT_EQ(events.size(), 2u);
    EXPECT_EQ(events[1].step, run);
    EXPECT_GT(events[1].wall_time, 1.7e9);
  }
}

TEST(EventFileWriter, ManyEventsAreFlushedOnTheWay) {
  const TempDir dir;
  EventFileWriter writer(dir.path());
  for (int step = 0; step < 5000; ++step) writer.add_scalar("loss", step, static_cast<float>(step));
  EXPECT_GT(std::filesystem::file_size(writer.path()), 64u << 10);
  writer.flush();
  EXPECT_EQ(read_events(writer.path()).size(), 5001u);
}

TEST(EventFileWriter, ABadDirectoryIsAnError) {
  const TempDir dir;
  put_file(dir / "file", "x");
  expect_contains(error_of([&] { EventFileWriter writer(dir / "file"); }), dir / "file");
}

}  // namespace
}  // namespace octavo
