// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "octavo/io/safetensors.h"

namespace octavo {

/// The weights of a Hugging Face model directory: `model.safetensors`, or else the shards that
/// `model.safetensors.index.json` lists. The index must agree with the shards in both directions: every
/// tensor it maps is in the named shard, and no shard holds a tensor that the index does not map to it. Shard
/// names must be plain file names. Throws bad_data naming the file and the tensor.
class TensorDirectory {
 public:
  explicit TensorDirectory(const std::string& directory);

  /// Sorted.
  std::vector<std::string> names() const;
  /// nullptr when there is no such tensor.
  const TensorInfo* find(std::string_view name) const;
  /// Throws bad_data when there is no such tensor.
  const TensorInfo& get(std::string_view name) const;
  /// One for each file, in the order of their names.
  const std::vector<SafetensorsFile>& files() const { return files_; }
  const std::string& path() const { return path_; }

 private:
  void open_shards(const std::string& index_path);

  std::string path_;
  std::vector<SafetensorsFile> files_;
  std::unordered_map<std::string_view, const TensorInfo*> tensors_;
};

}  // namespace octavo
