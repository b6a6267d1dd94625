// SPDX-License-Identifier: Apache-2.0
#include "octavo/io/safetensors_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <utility>

#include "octavo/base/error.h"
#include "octavo/base/quote_name.h"

namespace octavo {
namespace {

constexpr size_t kLargestHeader = 100'000'000;  // readers refuse more

std::string json_string(const std::string& text, const std::string& path) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    fail_data(fmt::format("cannot write '{}': the name {} is not valid UTF-8", path, quote_name(text)));
  }
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(const std::string& path, std::map<std::string, std::string> metadata)
    : path_(path), file_(path), metadata_(std::move(metadata)) {}

void SafetensorsWriter::add(const std::string& name, FileDtype dtype, std::vector<uint64_t> shape) {
  const std::string where = fmt::format("cannot write '{}': tensor {}", path_, quote_name(name));
  if (header_written_) fail_data(where + " is declared after the header was written");
  if (name == "__metadata__") fail_data(where + " has a name the format reserves");
  if (file_dtype_bits(dtype) < 8) {
    fail_unsupported(fmt::format("{} has dtype {}, which is below 8 bits", where, file_dtype_name(dtype)));
  }
  const auto bytes = tensor_bytes(dtype, shape);
  if (!bytes) fail_data(where + " has a size that overflows");
  tensors_.push_back({name, dtype, std::move(shape), *bytes});
}

const std::vector<TensorDeclaration>& SafetensorsWriter::order() {
  if (!header_written_) write_header();
  return tensors_;
}

void SafetensorsWriter::write_header() {
  std::sort(tensors_.begin(), tensors_.end(), file_order);
  std::unordered_map<std::string_view, FileDtype> seen;
  std::string header = "{";
  if (!metadata_.empty()) {
    std::string separator = "\"__metadata__\":{";
    for (const auto& [key, value] : metadata_) {
      header += separator + json_string(key, path_) + ":" + json_string(value, path_);
      separator = ",";
    }
    header += "}";
  }
  uint64_t at = 0;
  for (const TensorDeclaration& tensor : tensors_) {
    if (!seen.emplace(tensor.name, tensor.dtype).second) {
      fail_data(
          fmt::format("cannot write '{}': tensor {} is declared twice", path_, quote_name(tensor.name)));
    }
    uint64_t end = 0;
    if (__builtin_add_overflow(at, tensor.bytes, &end)) {
      fail_data(fmt::format("cannot write '{}': the tensors together have a size that overflows", path_));
    }
    header += fmt::format("{}{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                          header.size() > 1 ? "," : "", json_string(tensor.name, path_),
                          file_dtype_name(tensor.dtype),
                          fmt::join(tensor.shape.begin(), tensor.shape.end(), ","), at, end);
    at = end;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  if (header.size() > kLargestHeader) {
    fail_data(fmt::format("cannot write '{}': the header would have {} bytes, the limit is {}", path_,
                          header.size(), kLargestHeader));
  }
  char length[8];
  for (int i = 0; i < 8; ++i) length[i] = static_cast<char>(header.size() >> (8 * i));
  file_.write(length, sizeof length);
  file_.write(header);
  header_written_ = true;
  skip_complete();
}

void SafetensorsWriter::skip_complete() {
  while (next_ < tensors_.size() && written_ == tensors_[next_].bytes) {
    ++next_;
    written_ = 0;
  }
}

void SafetensorsWriter::write(std::string_view name, std::span<const std::byte> data) {
  order();
  if (data.empty()) return;  // also the whole of a tensor with a zero extent
  if (next_ == tensors_.size() || tensors_[next_].name != name) {
    fail_data(fmt::format("cannot write '{}': data came for tensor {} where {} is due", path_,
                          quote_name(name),
                          next_ == tensors_.size() ? "none" : quote_name(tensors_[next_].name)));
  }
  if (data.size() > tensors_[next_].bytes - written_) {
    fail_data(fmt::format("cannot write '{}': tensor {} got more than its {} bytes", path_, quote_name(name),
                          tensors_[next_].bytes));
  }
  file_.write(data.data(), data.size());
  written_ += data.size();
  skip_complete();
}

void SafetensorsWriter::write_all(
    const std::function<std::span<const std::byte>(const TensorDeclaration&)>& source) {
  for (const TensorDeclaration& tensor : order()) write(tensor.name, source(tensor));
}

void SafetensorsWriter::close() {
  order();
  if (next_ < tensors_.size()) {
    fail_data(fmt::format("cannot write '{}': tensor {} has {} of its {} bytes", path_,
                          quote_name(tensors_[next_].name), written_, tensors_[next_].bytes));
  }
  file_.close();
}

void write_safetensors(const std::string& path, std::span<const TensorToWrite> tensors,
                       const std::map<std::string, std::string>& metadata) {
  SafetensorsWriter writer(path, metadata);
  std::unordered_map<std::string_view, const void*> data;
  for (const TensorToWrite& tensor : tensors) {
    writer.add(tensor.name, tensor.dtype, tensor.shape);
    data.emplace(tensor.name, tensor.data);
  }
  writer.write_all([&](const TensorDeclaration& tensor) {
    return std::span(static_cast<const std::byte*>(data.at(tensor.name)), tensor.bytes);
  });
  writer.close();
}

}  // namespace octavo
