// SPDX-License-Identifier: Apache-2.0
#include "octavo/io/tensor_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "octavo/base/error.h"
#include "octavo/base/quote_name.h"
#include "octavo/io/json_file.h"

namespace octavo {
namespace {

bool is_plain_shard_name(const std::string& name) {
  return name.ends_with(".safetensors") &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
}

}  // namespace

TensorDirectory::TensorDirectory(const std::string& directory) : path_(directory) {
  const std::string single = directory + "/model.safetensors";
  const std::string index = directory + "/model.safetensors.index.json";
  std::error_code ignored;
  if (std::filesystem::exists(single, ignored)) {
    files_.emplace_back(single);
  } else if (std::filesystem::exists(index, ignored)) {
    open_shards(index);
  } else {
    fail_data(fmt::format("'{}' has neither model.safetensors nor model.safetensors.index.json", directory));
  }
  for (const SafetensorsFile& file : files_) {
    for (const TensorInfo& tensor : file.tensors()) tensors_.emplace(tensor.name(), &tensor);
  }
}

void TensorDirectory::open_shards(const std::string& index_path) {
  const JsonObject weight_map = JsonObject::read(index_path).get_object("weight_map");
  std::map<std::string, std::vector<std::string>> shards;
  for (const std::string& tensor : weight_map.keys()) {
    const std::string shard = weight_map.get_string(tensor);
    if (!is_plain_shard_name(shard)) {
      fail_data(fmt::format("'{}': tensor {} is mapped to {}, expected the plain name of a .safetensors file",
                            index_path, quote_name(tensor), quote_name(shard)));
    }
    shards[shard].push_back(tensor);
  }
  files_.reserve(shards.size());
  for (const auto& [shard, listed] : shards) {
    const SafetensorsFile& file = files_.emplace_back(path_ + "/" + shard);
    for (const std::string& name : listed) {
      if (!file.find(name)) {
        fail_data(fmt::format("'{}': tensor {} is missing, '{}' says it is there", file.path(),
                              quote_name(name), index_path));
      }
    }
    for (const TensorInfo& tensor : file.tensors()) {
      if (!weight_map.has(tensor.name()) || weight_map.get_string(tensor.name()) != shard) {
        fail_data(fmt::format("'{}': tensor {} is not mapped to this file by '{}'", file.path(),
                              quote_name(tensor.name()), index_path));
      }
    }
  }
}

std::vector<std::string> TensorDirectory::names() const {
  std::vector<std::string> result;
  result.reserve(tensors_.size());
  for (const auto& [name, tensor] : tensors_) result.emplace_back(name);
  std::sort(result.begin(), result.end());
  return result;
}

const TensorInfo* TensorDirectory::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : found->second;
}

const TensorInfo& TensorDirectory::get(std::string_view name) const {
  const TensorInfo* tensor = find(name);
  if (!tensor) fail_data(fmt::format("'{}': there is no tensor {}", path_, quote_name(name)));
  return *tensor;
}

}  // namespace octavo
