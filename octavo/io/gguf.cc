// SPDX-License-Identifier: Apache-2.0
#include "octavo/io/gguf.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "octavo/base/error.h"
#include "octavo/base/load_as.h"
#include "octavo/base/quote_name.h"

namespace octavo {
namespace {

constexpr uint32_t kLongestName = 65535;  // of a key; the specification's limit
constexpr uint32_t kMostDimensions = 4;   // ggml's limit

}  // namespace

/// Walks the file; whatever a read is called appears in the error when the file ends first.
class GgufFile::Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, const std::string& path) : bytes_(bytes), path_(path) {}

  template <class T>
  T number(const std::string& what) {
    return load_as<T>(raw(sizeof(T), what).data());
  }

  std::string_view text(const std::string& what) {
    const auto length = number<uint64_t>(what);
    const auto bytes = raw(length, what);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  std::span<const std::byte> raw(uint64_t count, const std::string& what) {
    if (count > bytes_.size() - at_)
      fail_data(fmt::format("'{}': {} needs {} bytes at byte {}, only {} are there (truncated?)", path_, what,
                            count, at_, bytes_.size() - at_));
    const auto result = bytes_.subspan(at_, count);
    at_ += count;
    return result;
  }

  uint64_t at() const { return at_; }
  uint64_t left() const { return bytes_.size() - at_; }
  /// The bytes passed since `from`.
  std::span<const std::byte> since(uint64_t from) const { return bytes_.subspan(from, at_ - from); }

 private:
  std::span<const std::byte> bytes_;
  const std::string& path_;
  uint64_t at_ = 0;
};

size_t GgufFile::fixed_size(Type type) {
  switch (type) {
    case Type::u8:
    case Type::i8:
    case Type::boolean:
      return 1;
    case Type::u16:
    case Type::i16:
      return 2;
    case Type::u32:
    case Type::i32:
    case Type::f32:
      return 4;
    case Type::u64:
    case Type::i64:
    case Type::f64:
      return 8;
    case Type::string:
    case Type::array:
      break;
  }
  return 0;
}

GgufFile::GgufFile(const std::string& path) : file_(path) {
  Cursor cursor(file_.bytes(), file_.path());
  const auto magic = cursor.raw(4, "the header");
  if (std::memcmp(magic.data(), "GGUF", 4) != 0)
    fail_data(fmt::format("'{}' is no GGUF file: it does not begin with GGUF", path));
  version_ = cursor.number<uint32_t>("the header");
  if (version_ != 0 && (version_ & 0xffff) == 0)
    fail_unsupported(
        fmt::format("'{}' is a big-endian GGUF file; only little-endian ones can be read", path));
  if (version_ != 2 && version_ != 3)
    fail_unsupported(
        fmt::format("'{}' is a GGUF file of version {}; versions 2 and 3 can be read", path, version_));
  const auto tensors = cursor.number<uint64_t>("the header");
  const auto keys = cursor.number<uint64_t>("the header");
  read_metadata(cursor, keys);
  if (const auto parts = find_int("split.count"); parts && *parts > 1)
    fail_unsupported(
        fmt::format("'{}' is one of {} parts (split.count); join them into one file first", path, *parts));
  read_tensors(cursor, tensors);
}

void GgufFile::read_metadata(Cursor& cursor, uint64_t count) {
  // A key takes 13 bytes at least: two lengths and a value.
  if (count > cursor.left() / 13)
    fail_data(fmt::format("'{}': the header promises {} metadata keys, {} bytes cannot hold them", path(),
                          count, cursor.left()));
  for (uint64_t i = 0; i < count; ++i) {
    const std::string_view key = cursor.text(fmt::format("metadata key {}", i));
    const std::string what = fmt::format("metadata key {}", quote_name(key));
    if (key.empty() || key.size() > kLongestName)
      fail_data(fmt::format("'{}': metadata key {} has {} bytes, expected 1 to {}", path(), i, key.size(),
                            kLongestName));
    Value value;
    const auto take_type = [&] {
      const auto number = cursor.number<uint32_t>(what);
      if (number > static_cast<uint32_t>(Type::f64))
        fail_data(fmt::format("'{}': {} has a value of the unknown type {}", path(), what, number));
      return static_cast<Type>(number);
    };
    value.type = take_type();
    if (value.type == Type::array) {
      value.is_array = true;
      value.type = take_type();
      if (value.type == Type::array)
        fail_unsupported(fmt::format("'{}': {} is an array of arrays, which is not supported", path(), what));
      value.count = cursor.number<uint64_t>(what);
    }
    const uint64_t begin = cursor.at();
    if (const size_t size = fixed_size(value.type)) {
      if (value.count > cursor.left() / size)
        fail_data(fmt::format("'{}': {} promises {} values, the {} bytes left cannot hold them (truncated?)",
                              path(), what, value.count, cursor.left()));
      cursor.raw(value.count * size, what);
    } else {
      if (value.count > cursor.left() / 8)
        fail_data(fmt::format("'{}': {} promises {} strings, the {} bytes left cannot hold them (truncated?)",
                              path(), what, value.count, cursor.left()));
      for (uint64_t s = 0; s < value.count; ++s) cursor.text(what);
    }
    value.bytes = cursor.since(begin);
    if (!metadata_.emplace(key, value).second)
      fail_data(fmt::format("'{}': {} is there twice", path(), what));
  }
}

void GgufFile::read_tensors(Cursor& cursor, uint64_t count) {
  // Name length, dimensions, one of them, encoding and offset: 32 bytes.
  if (count > cursor.left() / 32)
    fail_data(fmt::format("'{}': the header promises {} tensors, {} bytes cannot describe them", path(),
                          count, cursor.left()));
  std::vector<uint64_t> offsets;
  for (uint64_t i = 0; i < count; ++i) {
    GgufTensor tensor;
    tensor.name = cursor.text(fmt::format("tensor {}", i));
    const std::string what = fmt::format("tensor {}", quote_name(tensor.name));
    const auto rank = cursor.number<uint32_t>(what);
    if (rank < 1 || rank > kMostDimensions)
      fail_data(
          fmt::format("'{}': {} has {} dimensions, expected 1 to {}", path(), what, rank, kMostDimensions));
    for (uint32_t d = 0; d < rank; ++d) tensor.shape.push_back(cursor.number<uint64_t>(what));
    std::reverse(tensor.shape.begin(), tensor.shape.end());
    const auto number = cursor.number<uint32_t>(what);
    tensor.encoding = find_gguf_encoding(number);
    if (!tensor.encoding)
      fail_unsupported(fmt::format("'{}': {} is stored as {}, which is not supported; {} are", path(), what,
                                   gguf_encoding_name(number), readable_gguf_encodings()));
    offsets.push_back(cursor.number<uint64_t>(what));
    tensors_.push_back(std::move(tensor));
  }
  const auto alignment = static_cast<uint64_t>(find_int("general.alignment").value_or(32));
  if (!std::has_single_bit(alignment) || alignment < 8 || alignment > 1 << 20)
    fail_data(fmt::format("'{}': general.alignment is {}, expected a power of two from 8 to 2^20", path(),
                          alignment));
  const uint64_t padding = (alignment - cursor.at() % alignment) % alignment;
  if (tensors_.empty() && cursor.left() < padding) return;
  cursor.raw(padding, "the padding before the data");
  place_tensors(cursor.raw(cursor.left(), "the data"), alignment, offsets);
}

void GgufFile::place_tensors(std::span<const std::byte> data, uint64_t alignment,
                             const std::vector<uint64_t>& offsets) {
  uint64_t end = 0;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    GgufTensor& tensor = tensors_[i];
    const auto fail = [&](const std::string& what) {
      fail_data(fmt::format("'{}': tensor {} {}", path(), quote_name(tensor.name), what));
    };
    const auto elements = shape_elements(tensor.shape);
    uint64_t bits = 0;
    if (!elements || *elements == 0 || __builtin_mul_overflow(*elements, uint64_t{64}, &bits))
      fail(fmt::format("has the shape [{}], which is empty or overflows", fmt::join(tensor.shape, ", ")));
    if (tensor.shape.back() % tensor.encoding->block_elements != 0)
      fail(fmt::format("has rows of {} elements, {} stores multiples of {}", tensor.shape.back(),
                       tensor.encoding->name, tensor.encoding->block_elements));
    const uint64_t bytes = *elements / tensor.encoding->block_elements * tensor.encoding->block_bytes;
    const uint64_t begin = (end + alignment - 1) / alignment * alignment;  // both stay below the file's size
    if (offsets[i] != begin)
      fail(fmt::format("begins at byte {} of the data, expected {} ({})", offsets[i], begin,
                       offsets[i] < begin ? "tensors overlap" : "there is a hole"));
    if (begin > data.size() || bytes > data.size() - begin)
      fail(fmt::format("needs {} bytes from byte {} of the data on, which has only {} (truncated?)", bytes,
                       begin, data.size()));
    tensor.data = data.subspan(begin, bytes);
    end = begin + bytes;
  }
  if (data.size() - end >= alignment)
    fail_data(fmt::format("'{}': the tensors end at byte {} of the data but the file goes on for {} bytes",
                          path(), end, data.size() - end));
  for (size_t i = 0; i < tensors_.size(); ++i)
    if (!index_.emplace(tensors_[i].name, i).second)
      fail_data(fmt::format("'{}': tensor {} is there twice", path(), quote_name(tensors_[i].name)));
}

const GgufTensor* GgufFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

}  // namespace octavo
