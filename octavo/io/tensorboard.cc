// SPDX-License-Identifier: Apache-2.0
#include "octavo/io/tensorboard.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cctype>
#include <chrono>
#include <filesystem>

#include "octavo/base/error.h"

namespace octavo {
namespace {

constexpr size_t kFlushAt = 64 << 10;

constexpr std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0x82F63B78u : 0u);
    table[i] = value;
  }
  return table;
}

template <class T>
void append_fixed(std::string& out, T value) {
  for (size_t i = 0; i < sizeof value; ++i) out += static_cast<char>(value >> (8 * i));
}

/// TFRecord stores CRCs rotated and offset, so that a CRC over data that contains CRCs stays meaningful.
void append_masked_crc(std::string& out, std::string_view data) {
  const uint32_t crc = crc32c(std::as_bytes(std::span(data)));
  append_fixed(out, (crc >> 15 | crc << 17) + 0xA282EAD8u);
}

// The few pieces of protocol buffer encoding needed: a field key is number * 8 + wire type.
enum WireType { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void append_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

void append_key(std::string& out, unsigned field, WireType type) { append_varint(out, field << 3 | type); }

void append_bytes(std::string& out, unsigned field, std::string_view bytes) {
  append_key(out, field, kBytes);
  append_varint(out, bytes.size());
  out += bytes;
}

std::string begin_event(double wall_time) {
  std::string event;
  append_key(event, 1, kFixed64);  // Event.wall_time
  append_fixed(event, std::bit_cast<uint64_t>(wall_time));
  return event;
}

double time_or_now(double wall_time) {
  if (wall_time >= 0) return wall_time;
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string host_name() {
  char name[256] = {};
  if (::gethostname(name, sizeof name - 1) != 0 || name[0] == '\0') return "localhost";
  std::string host = name;
  for (char& c : host) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '.') c = '-';
  }
  return host;
}

}  // namespace

uint32_t crc32c(std::span<const std::byte> data) {
  static constexpr auto kTable = make_crc_table();
  uint32_t crc = ~0u;
  for (const std::byte byte : data) crc = crc >> 8 ^ kTable[(crc ^ static_cast<uint32_t>(byte)) & 0xFF];
  return ~crc;
}

EventFileWriter::EventFileWriter(const std::string& directory, double wall_time) {
  const double time = time_or_now(wall_time);
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) fail_data(fmt::format("cannot create directory '{}': {}", directory, error.message()));
  const std::string base =
      fmt::format("{}/events.out.tfevents.{:010d}.{}", directory, static_cast<int64_t>(time), host_name());
  path_ = base;
  for (int i = 1; std::filesystem::exists(path_, error); ++i) path_ = fmt::format("{}.{}", base, i);
  file_ = std::make_unique<FileWriter>(path_);
  std::string event = begin_event(time);
  append_bytes(event, 3, "brain.Event:2");  // Event.file_version
  append_record(event);
  flush();
}

EventFileWriter::~EventFileWriter() {
  try {
    if (file_) flush();
  } catch (const Error&) {  // a destructor may run while another error is on its way
  }
}

void EventFileWriter::append_record(const std::string& event) {
  std::string length;
  append_fixed(length, static_cast<uint64_t>(event.size()));
  pending_ += length;
  append_masked_crc(pending_, length);
  pending_ += event;
  append_masked_crc(pending_, event);
}

void EventFileWriter::add_scalars(int64_t step, std::span<const std::pair<std::string, float>> values,
                                  double wall_time) {
  std::string summary;
  for (const auto& [tag, number] : values) {
    std::string value;
    append_bytes(value, 1, tag);     // Summary.Value.tag
    append_key(value, 2, kFixed32);  // Summary.Value.simple_value
    append_fixed(value, std::bit_cast<uint32_t>(number));
    append_bytes(summary, 1, value);  // Summary.value
  }
  std::string event = begin_event(time_or_now(wall_time));
  append_key(event, 2, kVarint);  // Event.step
  append_varint(event, static_cast<uint64_t>(step));
  append_bytes(event, 5, summary);  // Event.summary
  append_record(event);
  if (pending_.size() >= kFlushAt) flush();
}

void EventFileWriter::add_scalar(const std::string& tag, int64_t step, float value, double wall_time) {
  const std::pair<std::string, float> single(tag, value);
  add_scalars(step, std::span(&single, 1), wall_time);
}

void EventFileWriter::flush() {
  if (pending_.empty()) return;
  const std::string due = std::move(pending_);
  pending_.clear();  // also when the write fails: repeating half a record would corrupt the file
  file_->write(due);
}

void EventFileWriter::close() {
  flush();
  file_->close();
  file_.reset();
}

}  // namespace octavo
