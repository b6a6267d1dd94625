// SPDX-License-Identifier: Apache-2.0
#include "octavo/io/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>
#include <unordered_set>
#include <utility>

#include "octavo/base/error.h"
#include "octavo/base/quote_name.h"

namespace octavo {
namespace {

constexpr uint64_t kLargestHeader = 100'000'000;
constexpr size_t kLargestRank = 64;  // keeps one hostile shape from growing to many times the header

struct HeaderEntry {
  std::string name;
  FileDtype dtype = FileDtype::u8;
  std::vector<uint64_t> shape;
  std::vector<uint64_t> offsets;
  bool has_dtype = false, has_shape = false, has_offsets = false;
};

/// Takes the header event by event, so nothing is built for what does not belong there: nesting is refused
/// where it begins and a duplicate key is seen (a document tree would have dropped it silently).
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(const std::string& path) : path_(path) {}

  std::vector<HeaderEntry> entries;
  std::map<std::string, std::string> metadata;

  bool null() override { unexpected("null"); }
  bool boolean(bool) override { unexpected("a boolean"); }
  bool number_integer(number_integer_t) override { unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override {
    unexpected("a fraction or a number beyond 64 bits");
  }
  bool binary(binary_t&) override { unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::shape) {
      if (entries.back().shape.size() == kLargestRank) {
        fail_entry(fmt::format("has more than {} dimensions", kLargestRank));
      }
      entries.back().shape.push_back(value);
    } else if (place_ == Place::offsets) {
      if (entries.back().offsets.size() == 2) fail_entry("has more than two data_offsets");
      entries.back().offsets.push_back(value);
    } else {
      unexpected("a number");
    }
    return true;
  }

  bool string(string_t& value) override {
    if (place_ == Place::metadata) {
      metadata[key_] = value;
    } else if (place_ == Place::tensor && key_ == "dtype") {
      const auto dtype = find_file_dtype(value);
      if (!dtype) fail_entry(fmt::format("has the unknown dtype {}", quote_name(value)));
      entries.back().dtype = *dtype;
    } else {
      unexpected("a string");
    }
    return true;
  }

  bool start_object(size_t) override {
    if (place_ == Place::outside) {
      place_ = Place::top;
    } else if (place_ == Place::top && key_ == "__metadata__") {
      place_ = Place::metadata;
    } else if (place_ == Place::top) {
      place_ = Place::tensor;
      entries.emplace_back().name = key_;
    } else {
      unexpected("an object");
    }
    return true;
  }

  bool key(string_t& key) override {
    key_ = key;
    if (place_ == Place::top) {
      if (!seen_.insert(key).second) {
        fail_data(fmt::format("'{}': the header names {} twice", path_, quote_name(key)));
      }
    } else if (place_ == Place::metadata) {
      if (!metadata.emplace(key, "").second) {
        fail_data(
            fmt::format("'{}': the header's __metadata__ has the key {} twice", path_, quote_name(key)));
      }
    } else {
      HeaderEntry& entry = entries.back();
      bool* has = key == "dtype"          ? &entry.has_dtype
                  : key == "shape"        ? &entry.has_shape
                  : key == "data_offsets" ? &entry.has_offsets
                                          : nullptr;
      if (!has) fail_entry(fmt::format("has the unknown key {}", quote_name(key)));
      if (std::exchange(*has, true)) fail_entry(fmt::format("has the key {} twice", quote_name(key)));
    }
    return true;
  }

  bool end_object() override {
    if (place_ == Place::tensor) {
      const HeaderEntry& entry = entries.back();
      if (!entry.has_dtype) fail_entry("has no dtype");
      if (!entry.has_shape) fail_entry("has no shape");
      if (!entry.has_offsets) fail_entry("has no data_offsets");
    }
    place_ = place_ == Place::top ? Place::outside : Place::top;
    return true;
  }

  bool start_array(size_t) override {
    if (place_ == Place::tensor && key_ == "shape") {
      place_ = Place::shape;
    } else if (place_ == Place::tensor && key_ == "data_offsets") {
      place_ = Place::offsets;
    } else {
      unexpected("an array");
    }
    return true;
  }

  bool end_array() override {
    if (place_ == Place::offsets && entries.back().offsets.size() != 2) {
      fail_entry(fmt::format("has {} data_offsets, expected two", entries.back().offsets.size()));
    }
    place_ = Place::tensor;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) override {
    fail_data(fmt::format("'{}': the header is not valid JSON in UTF-8 (first error at byte {} of it)", path_,
                          position));
  }

 private:
  enum class Place { outside, top, metadata, tensor, shape, offsets };

  [[noreturn]] void fail_entry(const std::string& what) {
    fail_data(fmt::format("'{}': tensor {} {}", path_, quote_name(entries.back().name), what));
  }

  [[noreturn]] void unexpected(const char* what) {
    switch (place_) {
      case Place::outside:
        break;
      case Place::top:
        fail_data(fmt::format("'{}': the header's entry {} is {}, expected an object", path_,
                              quote_name(key_), what));
      case Place::metadata:
        fail_data(
            fmt::format("'{}': __metadata__ {} is {}, expected a string", path_, quote_name(key_), what));
      case Place::tensor:
        fail_entry(fmt::format("has {} as {}, expected {}", what, key_,
                               key_ == "dtype" ? "a string" : "an array of integers"));
      case Place::shape:
        fail_entry(fmt::format("has {} in its shape, expected integers of 0 or more", what));
      case Place::offsets:
        fail_entry(fmt::format("has {} in its data_offsets, expected integers of 0 or more", what));
    }
    fail_data(fmt::format("'{}': the header is {}, expected a JSON object", path_, what));
  }

  const std::string& path_;
  Place place_ = Place::outside;
  std::string key_;
  std::unordered_set<std::string> seen_;
};

uint64_t header_length(std::span<const std::byte> file, const std::string& path) {
  if (file.size() < 8) {
    fail_data(fmt::format("'{}': {} bytes are too few for a safetensors file", path, file.size()));
  }
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | static_cast<uint64_t>(file[static_cast<size_t>(i)]);
  if (length > kLargestHeader) {
    fail_data(
        fmt::format("'{}': the header length {} is above the limit of {}", path, length, kLargestHeader));
  }
  if (length > file.size() - 8) {
    fail_data(fmt::format("'{}': the header should have {} bytes but only {} are there (truncated?)", path,
                          length, file.size() - 8));
  }
  return length;
}

/// The header without its padding. The parser would skip a byte-order mark and stop at a NUL byte, so both
/// ends and NUL are checked here.
std::string_view header_text(std::span<const std::byte> file, const std::string& path) {
  const uint64_t length = header_length(file, path);  // before the pointer moves: an empty file has none
  std::string_view text(reinterpret_cast<const char*>(file.data()) + 8, length);
  const size_t last = text.find_last_not_of(' ');
  text = text.substr(0, last == std::string_view::npos ? 0 : last + 1);
  if (text.empty() || text.front() != '{') {
    fail_data(fmt::format("'{}': the header does not begin with '{{'", path));
  }
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    fail_data(
        fmt::format("'{}': the header is not valid JSON in UTF-8 (NUL at byte {} of it)", path, nul + 1));
  }
  return text;
}

void check_entry(const HeaderEntry& entry, uint64_t expected_begin, uint64_t data_size,
                 const std::string& path) {
  const uint64_t begin = entry.offsets[0], end = entry.offsets[1];
  const auto fail = [&](const std::string& what) {
    fail_data(fmt::format("'{}': tensor {} {}", path, quote_name(entry.name), what));
  };
  if (end < begin) fail(fmt::format("has data_offsets that end at {} before they begin at {}", end, begin));
  if (begin != expected_begin) {
    fail(fmt::format("begins at byte {} of the data, expected {} ({})", begin, expected_begin,
                     begin < expected_begin ? "tensors overlap" : "there is a hole"));
  }
  const std::string type = fmt::format("{} [{}]", file_dtype_name(entry.dtype),
                                       fmt::join(entry.shape.begin(), entry.shape.end(), ", "));
  const auto bytes = tensor_bytes(entry.dtype, entry.shape);
  if (!bytes) fail(fmt::format("has a size that overflows or is no whole number of bytes ({})", type));
  if (*bytes != end - begin) {
    fail(fmt::format("has {} bytes of data, expected {} for {}", end - begin, *bytes, type));
  }
  if (end > data_size) {
    fail(fmt::format("ends at byte {} of the data but the file has only {} (truncated?)", end, data_size));
  }
}

}  // namespace

std::span<const std::byte> TensorInfo::data() const {
  if (file_dtype_bits(dtype_) < 8) {
    fail_unsupported(fmt::format("'{}': tensor {} has dtype {}, which is below 8 bits and cannot be read",
                                 file_, quote_name(name_), file_dtype_name(dtype_)));
  }
  return data_;
}

SafetensorsFile::SafetensorsFile(const std::string& path) : file_(path) {
  const auto file = file_.bytes();
  const std::string_view text = header_text(file, path);
  HeaderReader header(path);
  nlohmann::json::sax_parse(text.data(), text.data() + text.size(), &header);

  auto& entries = header.entries;
  std::sort(entries.begin(), entries.end(), [](const HeaderEntry& a, const HeaderEntry& b) {
    return std::tie(a.offsets, a.name) < std::tie(b.offsets, b.name);
  });
  const auto data = file.subspan(8 + header_length(file, path));
  uint64_t at = 0;
  tensors_.reserve(entries.size());
  for (HeaderEntry& entry : entries) {
    check_entry(entry, at, data.size(), path);
    const uint64_t bytes = entry.offsets[1] - at;
    tensors_.emplace_back(std::move(entry.name), entry.dtype, std::move(entry.shape), data.subspan(at, bytes),
                          path);
    at += bytes;
  }
  if (at != data.size()) {
    fail_data(fmt::format("'{}': the tensors end at byte {} of the data but the file goes on for {} bytes",
                          path, at, data.size() - at));
  }
  for (size_t i = 0; i < tensors_.size(); ++i) index_.emplace(tensors_[i].name(), i);
  metadata_ = std::move(header.metadata);
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> result;
  result.reserve(tensors_.size());
  for (const TensorInfo& tensor : tensors_) result.push_back(tensor.name());
  std::sort(result.begin(), result.end());
  return result;
}

const TensorInfo* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

const TensorInfo& SafetensorsFile::get(std::string_view name) const {
  const TensorInfo* tensor = find(name);
  if (!tensor) fail_data(fmt::format("'{}': there is no tensor {}", path(), quote_name(name)));
  return *tensor;
}

}  // namespace octavo
